"""The rules of planted bugs: each rule changes CUDA source at one place, as a programmer's mistake would.

A rule has a pattern and a replacement. The pattern is applied to code in which comments, strings and preprocessor lines are
blank.

Source: R. DeMillo, R. Lipton and F. Sayward, Hints on test data selection, Computer 11 (1978), for mutants. The mistakes are
the faults that NVIDIA's Compute Sanitizer finds, and mistakes known from published kernels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["RULES", "Mutation", "Rule", "code_of", "mutations_of"]

BLANK = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|^[ \t]*#[^\n]*', re.DOTALL | re.MULTILINE)

INSIDE = r"(?:[^()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*"  # the text between two parentheses
TERM = r"(?:[^?:;,{}()]|\((?:[^()]|\([^()]*\))*\))+?"  # a term of a list or a condition
SUBSCRIPT = r"(?<=[\w\]])\[(?P<index>(?:[^\[\]]|\[[^\[\]]*\])+)\]"
CONDITION = rf"(?:(?<=[^=!<>+*/-]= )|(?<=return )|(?<=\()|(?<=, )){TERM} \? "
SUMS = r"(?P<sum>\b(?:\w*(?:total|sum|share|squares|along|dot|gained|shifted)|d\w+\[c\]|sum\.\w|s\w+\[i\]\[[j\d]\]))"
LENGTHS = "channels|columns|classes|row_length|row_size|stride|outputs|depth|extent|time"
FACTORS = (
    "scale|factor|inverse|rescale|r|step_size|v_correction|decay_factor|grad_scale|s.grad_scale|s.decay_factor|s.step_size|"
    "s.v_correction|LINEAR|SLOPE|GELU_ROOT"
)
LOOP = re.compile(
    r"\bfor \((?P<begin>[^;]*); (?P<counter>\w+)(?P<below> <=? )(?P<end>[^;]*); "
    r"(?:\+\+\w+|\w+ \+= (?P<step>[^;(),]+(?:\(\))?))(?=[),])"
)
SCALING = r"(?<![\w.])(?!distance|half)[\w.]+(?:\[\w+\])? [*/]= [^;{}]+;"  # except the steps of a reduction
ALIGNMENT = r"\b(?:aligned16|is_aligned)\((?![^()]*[.*])[^()]*\)(?! \{)"  # a call, not the definition
SHARED_SUM = re.compile(
    r"(?P<who>if \(lane_index\(\) == 0\) |(?<!\) )\b)(?P<array>\w+)(?:\[[\w.()]+\])+ = (?P<mine>\w+);\s*__syncthreads\(\);\s*"
    r"(?P<type>float|double) (?P<total>\w+) = 0\.0f?;\s*for [^;]*;[^;]*; \+\+(?P<i>\w+)\) (?P=total) \+= "
    r"(?P=array)\[(?P=i)\](?P<column>[^;]*);"
)
DECLARES = re.compile(
    r"(?:\b(?:typedef|extern|__shared__)\b.*|\b(?:float|double|float4|unsigned|Softmax|Sums)\s+"
    r"(?:\w+(?:\[[^\[\]]*\])*, )*\w+(?:\[[^\[\]]*\])*)$"
)


@dataclass(frozen=True)
class Rule:
    """One kind of planted bug.

    Attributes
    ----------
    imitates : str
        The mistake of a programmer that the bug imitates.
    pattern : re.Pattern
        Matches the code to replace; matches may overlap.
    put : str or callable
        The replacement: a template of the match, or a function of the match.
    unless : re.Pattern, optional
        A match is skipped if this pattern matches the part of the line before it.
    """

    name: str
    imitates: str
    pattern: re.Pattern[str]
    put: str | Callable[[re.Match[str]], str]
    unless: re.Pattern[str] | None = None

    def replacement(self, match: re.Match[str]) -> str:
        """Return the replacement of a match, with as many lines as the match."""
        put = match.expand(self.put) if isinstance(self.put, str) else self.put(match)
        return put + "\n" * (match[0].count("\n") - put.count("\n"))


@dataclass(frozen=True)
class Mutation:
    """A rule applied at one place of a file.

    Attributes
    ----------
    source : str
        The text of the file without the bug.
    start, end : int
        The range of the text that is replaced.
    put : str
        The replacement.
    """

    path: Path
    rule: Rule
    source: str
    start: int
    end: int
    put: str

    @cached_property
    def text(self) -> str:
        """The text of the file with the bug."""
        return self.source[: self.start] + self.put + self.source[self.end :]

    @cached_property
    def line(self) -> int:
        """The number of the first line that differs."""
        pairs = zip(self.source.splitlines(), self.text.splitlines(), strict=False)
        return next(n for n, (was, now) in enumerate(pairs, 1) if was != now)

    @property
    def original(self) -> str:
        """The first line that differs, without the bug."""
        return self.source.splitlines()[self.line - 1].strip()

    @property
    def mutated(self) -> str:
        """The first line that differs, with the bug."""
        return self.text.splitlines()[self.line - 1].strip()

    @property
    def surroundings(self) -> str:
        """The first line that differs, with the lines before and after it, joined by spaces."""
        return " ".join(line.strip() for line in self.text.splitlines()[max(self.line - 2, 0) : self.line + 1])


def _one_step_less(loop: re.Match[str]) -> str:
    bound = f"{loop['counter']} + {loop['step'] or 1}{loop['below']}{loop['end']}"
    return loop[0].replace(f"{loop['counter']}{loop['below']}{loop['end']}", bound, 1)


def _stepping(step: str) -> Callable[[re.Match[str]], str]:
    def put(loop: re.Match[str]) -> str:
        return loop[0] if loop["step"] is None else loop[0][: -len(loop["step"])] + f"({loop['step']}) {step}"

    return put


def _added_atomically(match: re.Match[str]) -> str:
    place = f"{match['array']}[0]{match['column']}"
    return (
        f"if (threadIdx.{'y' if match['column'] else 'x'} == 0) {place} = 0; __syncthreads(); "
        f"{match['who']}atomicAdd(&{place}, {match['mine']}); __syncthreads(); {match['type']} {match['total']} = {place};"
    )


def _rounded(kept: str) -> str:
    return rf"\g<sum>\g<between> = __uint_as_float(__float_as_uint(\g<sum> + (\g<what>)) & {kept}u);"


def _doubled(match: re.Match[str]) -> str:
    return f"{match[1]}{2 * int(match[2])}"


def _other_axis(match: re.Match[str]) -> str:
    return match[0][:-1] + ("y" if match[0].endswith("x") else "x")


def _component_before(match: re.Match[str]) -> str:
    return "." + "xyz"["yzw".index(match[1])]


def _rule(
    name: str,
    imitates: str,
    pattern: str | re.Pattern[str],
    put: str | Callable[[re.Match[str]], str],
    unless: re.Pattern[str] | None = None,
) -> Rule:
    return Rule(name, imitates, re.compile(pattern), put, unless)


ADDITION = rf"{SUMS}(?P<between>) \+= (?P<what>[^;]+);"
RULES = (  # fmt: skip (one rule, one line)
    _rule("barrier deleted", "the threads of a block do not wait for each other", r"__syncthreads\(\);", ";"),
    _rule(
        "barrier in a branch",
        "only some threads reach a barrier",
        r"__syncthreads\(\);",
        "if (threadIdx.x % 2 == 0) __syncthreads();",
    ),
    _rule("warp barrier deleted", "lanes assumed to run in lockstep, as before Volta", r"__syncwarp\(\);", ";"),
    _rule("copy not waited for", "asynchronous copies read before they are complete", r"copy_wait<\d>\(\);", ";"),
    _rule(
        "one copy too few waited for",
        "the stages of a pipeline miscounted",
        r"copy_wait<(\d)>\(\);",
        lambda match: f"copy_wait<{int(match[1]) + 1}>();",
    ),
    _rule("copy group not closed", "a commit forgotten", r"copy_commit\(\);", ";"),
    _rule("index one more", "off by one", SUBSCRIPT, r"[(\g<index>) + 1]", DECLARES),
    _rule("index one less", "off by one", SUBSCRIPT, r"[(\g<index>) - 1]", DECLARES),
    _rule("early return dropped", "threads beyond the end continue", rf"\bif \({INSIDE}\) (?=return|continue)", "if (false) "),
    _rule("guard dropped", "the end of the data not checked", rf"\bif \({INSIDE}\)(?! return| continue)", "if (true)"),
    _rule("condition taken as true", "a mask forgotten", CONDITION, "true ? "),
    _rule("condition taken as false", "a flag or a mask ignored", CONDITION, "false ? "),
    _rule("< becomes <=", "one too many", " < ", " <= "),
    _rule("<= becomes <", "one too few", " <= ", " < "),
    _rule(">= becomes >", "one too many", " >= ", " > "),
    _rule("> becomes >=", "one too many", " > ", " >= "),
    _rule("first iteration skipped", "counting from one", r"(for \((?:int|long long) \w+ = )0\b", r"\g<1>1"),
    _rule("last iteration skipped", "the last tile or element dropped", LOOP, _one_step_less),
    _rule("stride one more", "elements skipped", LOOP, _stepping("+ 1")),
    _rule("stride halved", "a launch with more threads than the kernel counts on", LOOP, _stepping("/ 2")),
    _rule("row length one more", "a leading dimension mistaken", rf"(?<=\w) \* (?P<n>{LENGTHS})\b", r" * (\g<n> + 1)"),
    _rule("tree begins too low", "half of the values left out", r"\b(distance|half) = (\w+) / 2;", r"\1 = \2 / 4;"),
    _rule("tree ends too early", "the last step left out", r"\b(distance|half) > 0;", r"\1 > 1;"),
    _rule("half of the lanes in the mask", "a shuffle's mask mistaken", r"\bFULL_WARP(?=, )", "0x0000ffffu"),
    _rule("shuffle down, not across", "only lane 0 has the result", r"__shfl_xor_sync\b", "__shfl_down_sync"),
    _rule("any becomes all", "a vote mistaken", r"__any_sync\b", "__all_sync"),
    _rule("lanes counted wrong", "a fragment's layout mistaken", r"(lane(?:_index\(\))? [/%] )(\d+)", _doubled),
    _rule("axes confused", "x for y", r"\b(?:threadIdx|blockIdx)\.[xy]\b", _other_axis),
    _rule("sum by atomics", "a sum in an undefined order", SHARED_SUM, _added_atomically),
    _rule("sum rounded to bfloat16", "half precision in a sum", ADDITION, _rounded("0xffff0000")),
    _rule("sum rounded to float16", "half precision in a sum", ADDITION, _rounded("0xffffe000")),
    _rule("float for double", "a long sum in single precision", r"\bdouble (?=(?:share|total|shares|g)\b)", "float "),
    _rule("correction dropped", "one product too few for float32", r"multiply_(?:tf32|bf16)\(d, [^;]*;", ";"),
    _rule("max becomes min", "the wrong function", r"\bfmaxf\(", "fminf("),
    _rule("maximum not subtracted", "exp overflows", r" - (?:largest|base|reference|lse\[row\]|lse)\b(?=[;)])", ""),
    _rule("maximum begins at zero", "rows of negative numbers forgotten", r"-infinity\(\)", "0.0f"),
    _rule("rescaling dropped", "the earlier part of a sum keeps its old scale", SCALING, ";"),
    _rule("factor dropped", "a scale forgotten", rf"(?: \* (?:{FACTORS})| / (?:channels|total|row_sum))\b(?![\w\[])", ""),
    _rule("zero not set", "an accumulator or an output not initialised", r"(?<=[\w\]]) = 0\.0f?(?=[,;])", ""),
    _rule("clearing dropped", "accumulators not initialised", r"(?<![\w.])(?:\w+\.)?clear\(\w*\);", ";"),
    _rule("+ becomes -", "the wrong operator", r"(?<=[\w\])]) \+ (?=[\w(])", " - "),
    _rule("- becomes +", "the wrong operator", r"(?<=[\w\])]) - (?=[\w(-])", " + "),
    _rule("% becomes /", "the wrong operator", " % ", " / "),
    _rule("component mistaken", "copy and paste", r"(?<!Idx)(?<!Dim)\.([yzw])\b", _component_before),
    _rule("alignment not asked for", "128-bit access anywhere", ALIGNMENT, "true"),
    _rule(
        "half a vector",
        "eight bf16 mistaken for four floats",
        r" % (?:8|Packed128::SIZE|\(16 / sizeof\(T\)\)) == 0",
        " % 4 == 0",
    ),
    _rule("epsilon dropped", "division by zero", r" \+ (?:s\.)?eps\b", ""),
    _rule("constant mistyped", "a digit wrong", r"\b(\d+\.\d+)f\b", lambda m: f"{float(m[1]) * 1.001!r}f"),
)
"""All rules of planted bugs."""


def code_of(source: str) -> str:
    """Return the source with comments, strings and preprocessor lines replaced by spaces of the same length."""
    return BLANK.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), source)


def mutations_of(path: Path) -> list[Mutation]:
    """Return every bug that the rules can plant in a file; bugs with equal texts are returned once."""
    source = path.read_text()
    code, seen, mutations = code_of(source), {source}, []
    for rule in RULES:
        match = rule.pattern.search(code)
        while match:
            line = code[code.rfind("\n", 0, match.start()) + 1 : match.start()]
            if rule.unless is None or not rule.unless.search(line):
                mutation = Mutation(path, rule, source, match.start(), match.end(), rule.replacement(match))
                if mutation.text not in seen:
                    seen.add(mutation.text)
                    mutations.append(mutation)
            match = rule.pattern.search(code, match.start() + 1)
    return mutations
