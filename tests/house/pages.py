"""The commands that the pages tell a reader to type, with the place of each, its mark and the output shown below it."""

import re
import shlex
import subprocess
from dataclasses import dataclass
from itertools import pairwise

from registry.paths import ROOT

PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "AGENTS.md",
    *(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md"))),
    "tests/README.md",
)
SHELLS = {"", "console", "bash", "sh", "shell"}
PROGRAMS = r"(?:\.venv/bin/)?(?:python -m|python|pip|pytest|make|torchrun)"
BARE = re.compile(rf"{PROGRAMS} \S")
SHOWN_AGAIN = re.compile(r"reproduce: (python -m .+)")
MENTION = re.compile(r"(?:harness|trainer|registry|benchmarks)(?:\.\w+)* --?\w")
COMMENT = re.compile(r"\s+#\s")
FENCE = re.compile(r"\s*(`{3,})\s*(\S*)")
SPAN = re.compile(r"(?<!`)(`+)(?!`)((?:(?!\n\n).)+?)(?<!`)\1(?!`)", re.DOTALL)
MARK = re.compile(r"needs (?:a GPU|\d+ GPUs|a network)|takes (?:\d+ )?minutes")
DRY = ("--dry-run", "--old-file=.venv/.installed", "--no-print-directory")  # shows what make would run, without the set-up
GENERATED = re.compile(r"<!-- (\w+): generated.*?<!-- end \1 -->", re.DOTALL)
FAILURE = re.compile(r"(?:failed|race) at gate '")


@dataclass(frozen=True)
class Command:
    """One command on a page.

    Attributes
    ----------
    text : str
        The command as typed, without its prompt and its trailing comment.
    mark : str
        What the trailing comment says that a reader needs, such as ``needs a GPU``; "" if nothing.
    output : str
        What the page shows as printed.
    is_mention : bool
        The sentence names the module and its options and leaves ``python -m`` out.
    in_block : bool
        The command is a line of a block of code, where a comment may stand behind it.
    """

    page: str
    line: int
    text: str
    mark: str = ""
    output: str = ""
    is_mention: bool = False
    in_block: bool = False

    @property
    def words(self):
        """The command's words, as a shell splits them."""
        return shlex.split(self.text)

    @property
    def place(self):
        """Page and line."""
        return f"{self.page}:{self.line}"

    @property
    def fails(self):
        """Whether the page shows that the command finds something wrong."""
        return bool(FAILURE.search(self.output))

    @property
    def is_refused(self):
        """Whether the page shows that the command ends with an error line."""
        return self.output.lstrip().startswith("error: ")


def code_lines(text):
    """Yield the number, the text and the language of each line of code; an indented block has no language."""
    language, fence = None, ""
    for number, line in enumerate(text.splitlines(), start=1):
        if (found := FENCE.match(line)) and (language is None or (found[1] == fence and not found[2])):
            language, fence = (found[2], found[1]) if language is None else (None, "")
        elif language is not None or line.startswith("    "):
            yield number, line, language or ""


def split_comment(typed):
    """Return a command and the comment behind it, if a `#` outside quotes begins one."""
    found = COMMENT.search(re.sub(r"'[^']*'|\"[^\"]*\"", lambda quoted: "." * len(quoted[0]), typed))
    return (typed[: found.start()], typed[found.end() :]) if found else (typed, "")


def shown_below(lines, text):
    """Return the output below the command that begins `lines`: the code that follows it with nothing else between."""
    whole, block = text.splitlines(), []
    for (before, *_), (after, line, _) in pairwise(lines):
        if any(whole[number].strip() for number in range(before, after - 1)):
            break
        block.append(line)
    return "\n".join(block)


def in_blocks(page, text):
    """Return the commands in blocks of code, each with the output that is shown below it."""
    lines, starts = list(code_lines(text)), []
    for index, (_, line, language) in enumerate(lines):
        words = line.strip()
        if again := SHOWN_AGAIN.match(words):
            starts.append((index, again[1]))
        elif words.startswith("$ ") or (language in SHELLS and BARE.match(words)):
            starts.append((index, words.removeprefix("$ ")))
    ends = [index for index, _ in starts[1:]] + [len(lines)] * bool(starts)
    for (index, typed), end in zip(starts, ends, strict=True):
        number, line, _ = lines[index]
        command, comment = split_comment(typed)
        mark = found[0] if (found := MARK.search(comment)) else ""
        output = lines[index - 1][1] if SHOWN_AGAIN.match(line.strip()) else shown_below(lines[index:end], text)
        yield from (Command(page, number, part.strip(), mark, output, in_block=True) for part in command.split("&&"))


def in_sentences(page, text):
    """Return the commands in sentences and tables, which stand there as inline code."""
    lines = text.splitlines()
    for number, *_ in code_lines(text):
        lines[number - 1] = ""
    prose = "\n".join("" if FENCE.match(line) else line for line in lines)
    for span in SPAN.finditer(prose):
        typed, line = " ".join(span[2].split()), prose.count("\n", 0, span.start()) + 1
        if BARE.match(typed):
            yield from (Command(page, line, part.strip()) for part in typed.split("&&"))
        elif MENTION.match(typed):
            yield Command(page, line, f"python -m {typed}", is_mention=True)


def commands_of(page, text):
    """Return every command of a page, in order; what `make readme` writes is left out."""
    own = GENERATED.sub(lambda block: "\n" * block[0].count("\n"), text)
    return sorted([*in_blocks(page, own), *in_sentences(page, own)], key=lambda c: c.line)


def recipe_of(command):
    """Return the commands that `make` would run for a target, the set-up left out; none for a target that does not exist."""
    done = subprocess.run([*command.words, *DRY], cwd=ROOT, capture_output=True, text=True, check=False)
    return [
        Command(command.page, command.line, line.strip(), command.mark, in_block=command.in_block)
        for line in done.stdout.splitlines()
        if line.startswith(".venv/bin/")
    ]


def documented():
    """Return every command of every page, and those that its calls of `make` run."""
    found = [c for page in PAGES for c in commands_of(page, (ROOT / page).read_text())]
    return [*found, *(inner for c in found if c.words[0] == "make" for inner in recipe_of(c))]
