"""Control flow: basic blocks, the order in which a warp runs them, and where diverged lanes converge.

The order is a weak topological order (F. Bourdoncle, "Efficient chaotic iteration strategies with widenings", FMPA 1993):
every loop is contiguous and comes before the blocks that follow it. A warp runs the first pending block in this order, so
that lanes wait at joins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.ptx.model import Block, Immediate, Kernel, Register

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from simulator.ptx.model import Instruction, Operand

__all__ = ["build_blocks", "immediate_post_dominators", "weak_topological_order"]

_JUMPS = {"bra", "brx", "ret", "exit", "trap"}
_BLOCK_BARRIERS = {"bar", "barrier"}
_WHOLE_WARP = {"mma", "ldmatrix", "stmatrix", "wmma"}
_MEMBERS_LAST = {"shfl", "vote", "match", "redux", "elect"}
_EVERYONE = Immediate(0xFFFFFFFF)


def build_blocks(kernel: Kernel) -> None:
    """Cut the kernel into basic blocks, link them, and order them.

    A block begins at every label that is jumped to, behind every jump, at every instruction that waits for lanes not known
    to be there, and before and behind every barrier of the thread block.
    """
    code = kernel.instructions
    starts = sorted(_leaders(kernel))
    kernel.blocks = [
        Block(number, code[start:end], synchronises=_is_synchronising(code[start]))
        for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(code)], strict=True))
    ]
    leave = Block(len(kernel.blocks), [])
    kernel.blocks.append(leave)
    at = {start: number for number, start in enumerate(starts)} | {len(code): leave.index}
    for block in kernel.blocks[:-1]:
        targets = tuple(at[kernel.labels[label]] for label in block.instructions[-1].targets)
        block.successors = _successors(block, targets, leave.index)
        block.table = targets if block.instructions[-1].name == "brx" else ()
    for priority, number in enumerate(weak_topological_order([block.successors for block in kernel.blocks], leave.index)):
        kernel.blocks[number].priority = priority
    for block, meeting in zip(
        kernel.blocks, immediate_post_dominators([b.successors for b in kernel.blocks], leave.index), strict=True
    ):
        block.reconvergence = meeting


def _leaders(kernel: Kernel) -> set[int]:
    """Return the indices at which a basic block begins."""
    code = kernel.instructions
    leaders = {0, *(kernel.labels[label] for instruction in code for label in instruction.targets)}
    gathered: set[Operand] = set()
    for index, instruction in enumerate(code):
        if index in leaders:
            gathered = set()
        if instruction.name in _JUMPS:
            leaders.add(index + 1)
        elif _is_block_barrier(instruction):
            leaders |= {index, index + 1}
        elif _is_synchronising(instruction):
            members = _members(instruction)
            if instruction.predicate is not None or not gathered & {members, _EVERYONE}:
                leaders.add(index)
                gathered = set() if instruction.predicate is not None else {members}
        gathered -= _written(instruction)
    return {index for index in leaders if index < len(code)}


def _is_block_barrier(instruction: Instruction) -> bool:
    return instruction.name in _BLOCK_BARRIERS and not instruction.has("warp")


def _is_synchronising(instruction: Instruction) -> bool:
    """Return whether lanes must wait for each other at this instruction."""
    return instruction.name in _BLOCK_BARRIERS | _WHOLE_WARP | _MEMBERS_LAST


def _members(instruction: Instruction) -> Operand:
    """Return the operand that names the lanes which take part; all of them where there is none."""
    if instruction.name in _WHOLE_WARP or not instruction.operands:
        return _EVERYONE
    mask = instruction.operands[-1 if instruction.name in _MEMBERS_LAST else 0]
    return _EVERYONE if isinstance(mask, Immediate) and mask.value in {-1, _EVERYONE.value} else mask


def _written(instruction: Instruction) -> set[Operand]:
    """Return the register an instruction overwrites, so that a member mask in it is no longer the same."""
    first = instruction.operands[0] if instruction.operands else None
    return {first} if isinstance(first, Register) else set()


def _successors(block: Block, targets: tuple[int, ...], leave: int) -> tuple[int, ...]:
    last = block.instructions[-1]
    following = block.index + 1
    if last.name not in _JUMPS:
        return (following,)
    ends = targets or (leave,)
    falls_through = last.predicate is not None
    return tuple(dict.fromkeys((*ends, following) if falls_through else ends))


def weak_topological_order(successors: Sequence[Sequence[int]], leave: int) -> list[int]:
    """Return all blocks so that loops are contiguous and each join comes after the paths that it joins; `leave` comes last.

    Each strongly connected component is written as its head followed by the order of the rest without that head. Blocks that
    nothing reaches stand just before `leave`.
    """
    order: list[int] = []
    _append_order(order, successors, (0,), set(range(len(successors))))
    reached = set(order)
    return [
        *(block for block in order if block != leave),
        *(block for block in range(len(successors)) if block not in reached and block != leave),
        leave,
    ]


def _append_order(order: list[int], successors: Sequence[Sequence[int]], entries: Sequence[int], among: set[int]) -> None:
    """Append the blocks of `among` that `entries` reach; recursion goes as deep as loops are nested."""
    for head, *rest in _components(successors, entries, among):
        order.append(head)
        if rest:
            _append_order(order, successors, [block for block in successors[head] if block in rest], set(rest))


def _components(successors: Sequence[Sequence[int]], entries: Sequence[int], among: set[int]) -> list[list[int]]:
    """Return the strongly connected components that `entries` reach, in topological order, each headed by its first block.

    R. Tarjan, "Depth-first search and linear graph algorithms" (1972), with a stack of its own instead of recursion.
    """
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    path: list[int] = []
    components: list[list[int]] = []
    for entry in entries:
        work = [] if entry in number else [(entry, iter(successors[entry]))]
        while work:
            block, remaining = work[-1]
            if block not in number:
                number[block] = low[block] = len(number)
                path.append(block)
            for successor in remaining:
                if successor in among and successor not in number:
                    work.append((successor, iter(successors[successor])))
                    break
                if successor in low:
                    low[block] = min(low[block], low[successor])
            else:
                work.pop()
                if low[block] == number[block]:
                    start = path.index(block)
                    components.append(path[start:])
                    for closed in path[start:]:
                        del low[closed]
                    del path[start:]
                elif work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[block])
    return components[::-1]


def immediate_post_dominators(successors: Sequence[Sequence[int]], leave: int) -> list[int | None]:
    """Return for each block the first block that every path from it to `leave` passes, None if there is no path.

    K. Cooper, T. Harvey, K. Kennedy, "A simple, fast dominance algorithm" (2001), on the reversed graph.
    """
    predecessors: list[list[int]] = [[] for _ in successors]
    for block, nexts in enumerate(successors):
        for successor in nexts:
            predecessors[successor].append(block)
    order = _post_order(predecessors, leave)
    rank = {block: position for position, block in enumerate(order)}
    nearest: dict[int, int] = {leave: leave}
    changed = True
    while changed:
        changed = False
        for block in reversed(order[:-1]):
            meeting = _meet((s for s in successors[block] if s in nearest), nearest, rank)
            if nearest.get(block) != meeting:
                nearest[block] = meeting
                changed = True
    return [None if block == leave else nearest.get(block) for block in range(len(successors))]


def _meet(blocks: Iterable[int], nearest: dict[int, int], rank: dict[int, int]) -> int:
    """Return the block at which the post-dominator chains of all `blocks` come together."""
    first, *others = blocks
    for other in others:
        one, two = first, other
        while one != two:
            while rank[one] < rank[two]:
                one = nearest[one]
            while rank[two] < rank[one]:
                two = nearest[two]
        first = one
    return first


def _post_order(edges: Sequence[Sequence[int]], root: int) -> list[int]:
    """Return the blocks that `root` reaches in postorder, each after the blocks reached through it."""
    order: list[int] = []
    seen = {root}
    work = [(root, iter(edges[root]))]
    while work:
        block, remaining = work[-1]
        for following in remaining:
            if following not in seen:
                seen.add(following)
                work.append((following, iter(edges[following])))
                break
        else:
            work.pop()
            order.append(block)
    return order
