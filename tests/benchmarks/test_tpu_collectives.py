from benchmarks.tpu_collectives import collectives

# What goes on beside other operations stands in several computations, on one channel.
HLO = """
HloModule step

%all-reduce-scatter.1 (input: bf16[64,8]) -> bf16[64,4] {
  %input = bf16[64,8]{1,0:T(8,128)S(1)} parameter(0)
  %all-reduce.1 = bf16[64,8]{1,0:T(8,128)} all-reduce(%input), channel_id=1, replica_groups={{0,1},{2,3}}, to_apply=%add
  ROOT %dynamic-slice = bf16[64,4]{1,0} dynamic-slice(%all-reduce.1), dynamic_slice_sizes={64,4}
}

%started (param: bf16[8]) -> (bf16[8], bf16[16]) {
  %param = bf16[8]{0} parameter(0)
  %all-gather.1 = bf16[16]{0} all-gather(%param), channel_id=2, dimensions={0}, metadata={op_name="dot.1"}
  ROOT %tuple = (bf16[8]{0}, bf16[16]{0}) tuple(%param, %all-gather.1)
}

%beside (param.1: bf16[8]) -> bf16[16] {
  %param.1 = bf16[8]{0} parameter(0)
  ROOT %all-gather.2 = bf16[16]{0} all-gather(%param.1), channel_id=2, dimensions={0}, metadata={op_name="dot.1"}
}

ENTRY %main (a: f32[10], b: f32[4]) -> f32[10] {
  %a = f32[10]{0} parameter(0)
  %b = f32[4]{0} parameter(1)
  %scattered = bf16[64,4]{1,0} fusion(%a), kind=kCustom, calls=%all-reduce-scatter.1
  %all-reduce.2 = (f32[10]{0}, f32[4]{0}) all-reduce(%a, /*index=1*/%b), channel_id=4, to_apply=%add
  %all-reduce.3 = f32[10]{0} all-reduce(%a), channel_id=4, to_apply=%add
  %start = (f32[4]{0}, f32[16]{0}) all-gather-start(%b), channel_id=5, dimensions={0}
  %done = f32[16]{0} all-gather-done(%start)
  ROOT %reduce-scatter = f32[5]{0} reduce-scatter(%a), channel_id=6, dimensions={0}
}
"""  # noqa: E501


def test_each_collective_is_counted_once_with_all_that_it_handles():
    assert collectives(HLO) == [
        ("all-gather", 2, 2 * 16 + 4 * 16),
        ("all-reduce", 2, 4 * (10 + 4) + 4 * 10),
        ("reduce-scatter", 2, 2 * 64 * 8 + 4 * 10),
    ]


def test_a_program_of_one_device_says_nothing_to_others():
    assert collectives("ENTRY %main (a: f32[]) -> f32[] {\n  ROOT %a = f32[] parameter(0)\n}") == []
