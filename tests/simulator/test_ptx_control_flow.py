"""Control flow: blocks, their order, where lanes converge, and where they wait for each other."""

from hypothesis import given
from hypothesis import strategies as st

from simulator.ptx.control_flow import immediate_post_dominators, weak_topological_order
from tests.simulator.ptx_text import kernel

IF_ELSE = "@%p1 bra A; mov.u32 %r1, 1; bra B; A: mov.u32 %r1, 2; B: mov.u32 %r2, %r1; ret;"
LOOP = "mov.u32 %r1, 0; A: add.s32 %r1, %r1, 1; setp.lt.s32 %p1, %r1, 9; @%p1 bra A; mov.u32 %r2, 1; ret;"


def block_of(code, text):
    """Return the block that holds the first instruction of that text."""
    return next(b for b in code.blocks if any(i.text.startswith(text) for i in b.instructions))


def test_the_last_block_is_an_empty_exit():
    code = kernel("mov.u32 %r1, 1; ret;")
    assert [len(b.instructions) for b in code.blocks] == [2, 0]
    assert code.blocks[0].successors == (1,)
    assert code.blocks[1].successors == ()
    assert code.blocks[1].reconvergence is None


def test_both_sides_of_a_branch_meet_behind_it():
    code = kernel(IF_ELSE)
    head, no, yes, join = code.blocks[:4]
    assert head.successors == (yes.index, no.index)
    assert no.successors == yes.successors == (join.index,)
    assert head.reconvergence == join.index
    assert join.priority > max(no.priority, yes.priority) > head.priority


def test_a_loop_is_contiguous_and_before_the_blocks_that_follow():
    code = kernel(LOOP)
    before, loop, after, leave = code.blocks
    assert loop.successors == (loop.index, after.index)
    assert [b.priority for b in (before, loop, after, leave)] == [0, 1, 2, 3]
    assert loop.reconvergence == after.index


def test_an_early_return_meets_the_others_at_the_exit_only():
    code = kernel("@%p1 bra A; mov.u32 %r1, 1; ret; A: mov.u32 %r1, 2; ret;")
    assert code.blocks[0].reconvergence == code.blocks[-1].index
    guarded = kernel("@%p1 ret; mov.u32 %r1, 1; ret;")
    assert guarded.blocks[0].successors == (guarded.blocks[-1].index, 1)


def test_a_break_out_of_two_loops_comes_behind_both():
    body = "O: add.s32 %r1, %r1, 1; I: @%p1 bra OUT; @%p2 bra I; @%p3 bra O; OUT: mov.u32 %r2, 1; ret;"
    code = kernel(body)
    out = block_of(code, "mov.u32 %r2")
    loops = [b for b in code.blocks if b not in (out, code.blocks[-1])]
    assert all(b.priority < out.priority for b in loops)
    assert block_of(code, "add").reconvergence == block_of(code, "@%p1 bra OUT").index


def test_debug_labels_start_no_block():
    assert len(kernel("mov.u32 %r1, 1; $L__tmp1: mov.u32 %r2, 1; $L__func_end0: ret;").blocks) == 2


def test_a_table_of_targets_keeps_its_order_and_repeats():
    code = kernel("T: .branchtargets A, B, A; brx.idx %r1, T; A: mov.u32 %r2, 1; ret; B: mov.u32 %r2, 2; ret;")
    a, b = block_of(code, "mov.u32 %r2, 1").index, block_of(code, "mov.u32 %r2, 2").index
    assert code.blocks[0].table == (a, b, a)
    assert code.blocks[0].successors == (a, b)
    assert code.blocks[0].instructions[-1].targets == ("A", "B", "A")


def test_a_trap_ends_a_block():
    code = kernel("@%p1 trap; mov.u32 %r1, 1; ret;")
    assert code.blocks[0].terminator.name == "trap"
    assert code.blocks[0].successors == (code.blocks[-1].index, 1)
    assert kernel("trap; ret;").blocks[0].successors == (2,)


def test_a_block_barrier_stands_alone():
    code = kernel("mov.u32 %r1, 1; bar.sync 0; mov.u32 %r2, 1; ret;")
    assert [[i.name for i in b.instructions] for b in code.blocks] == [["mov"], ["bar"], ["mov", "ret"], []]
    assert [b.synchronises for b in code.blocks] == [False, True, False, False]


def test_lanes_that_are_gathered_need_not_wait_again():
    xor = "shfl.sync.bfly.b32 %r1, %r1, {}, 31, {};"
    same = kernel(f"mov.u32 %r1, 1; {xor.format(16, -1)} add.s32 %r2, %r1, 1; {xor.format(8, -1)} ret;")
    assert [b.synchronises for b in same.blocks] == [False, True, False]
    fewer = kernel(f"{xor.format(16, '0xffffffff')} {xor.format(8, '0xff')} ret;")
    assert [b.synchronises for b in fewer.blocks] == [True, False]
    others = kernel(f"{xor.format(16, '0xff')} {xor.format(8, '0xff00')} ret;")
    assert [b.synchronises for b in others.blocks] == [True, True, False]


def test_a_changed_or_guarded_mask_gathers_anew():
    vote = "vote.sync.ballot.b32 %r1, %p1, %r2;"
    assert [b.synchronises for b in kernel(f"{vote} {vote} ret;").blocks] == [True, False]
    assert [b.synchronises for b in kernel(f"{vote} mov.u32 %r2, 1; {vote} ret;").blocks] == [True, True, False]
    assert [b.synchronises for b in kernel(f"@%p2 {vote} {vote} ret;").blocks] == [True, True, False]
    joined = kernel(f"{vote} @%p1 bra A; mov.u32 %r3, 1; A: {vote} ret;")
    assert [b.synchronises for b in joined.blocks] == [True, False, True, False]


def test_a_warp_barrier_waits_for_its_members():
    code = kernel("mov.u32 %r1, 1; bar.warp.sync 0xffffffff; mov.u32 %r2, 1; ret;")
    assert [[i.name for i in b.instructions] for b in code.blocks] == [["mov"], ["bar", "mov", "ret"], []]


@st.composite
def graphs(draw):
    """Return successors of up to 12 blocks, the last of which is the exit."""
    size = draw(st.integers(2, 12))
    block = st.integers(1, size - 1)
    return [tuple(dict.fromkeys(draw(st.lists(block, min_size=1, max_size=3)))) for _ in range(size - 1)] + [()]


def reachable(successors, start, without=None):
    """Return what `start` reaches, by paths that avoid `without`."""
    seen, work = set(), [start]
    while work:
        block = work.pop()
        if block not in seen and block != without:
            seen.add(block)
            work += successors[block]
    return seen


@given(graphs())
def test_the_order_has_every_block_once_and_turns_back_only_in_loops(successors):
    order = weak_topological_order(successors, len(successors) - 1)
    assert sorted(order) == list(range(len(successors)))
    assert order[-1] == len(successors) - 1
    place = {block: position for position, block in enumerate(order)}
    for block in reachable(successors, 0):
        for successor in successors[block]:
            if place[successor] <= place[block]:
                assert block in reachable(successors, successor)


@given(graphs())
def test_loops_are_contiguous(successors):
    order = weak_topological_order(successors, len(successors) - 1)
    live = reachable(successors, 0)
    for block in live:
        loop = {b for b in reachable(successors, block) if block in reachable(successors, b)}
        places = sorted(order.index(b) for b in loop)
        assert places == list(range(places[0], places[0] + len(places)))


@given(graphs())
def test_a_meeting_point_is_on_every_path_and_the_first_of_its_kind(successors):
    leave = len(successors) - 1
    actual = immediate_post_dominators(successors, leave)
    for block in range(leave):
        if leave not in reachable(successors, block):
            assert actual[block] is None
            continue
        on_every_path = [b for b in range(len(successors)) if b != block and leave not in reachable(successors, block, b)]
        assert actual[block] in on_every_path
        assert all(
            other == actual[block] or leave not in reachable(successors, actual[block], other) for other in on_every_path
        )
