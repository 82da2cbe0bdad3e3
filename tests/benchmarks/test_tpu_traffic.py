from benchmarks.tpu_traffic import by_source, traffic

# Layouts with S(1) are of the chip's own memory.
HLO = """
HloModule step

%inner (x: f32[1000]) -> f32[1000] {
  ROOT %big = f32[1000]{0} negate(%x)
}

ENTRY %main (table: f32[100,8], ids: s32[4]) -> bf16[4,8] {
  %table = f32[100,8]{1,0:T(8,128)} parameter(0)
  %ids = s32[4]{0} parameter(1)
  %copy-start = (f32[100,8]{1,0:T(8,128)S(1)}, f32[100,8]{1,0:T(8,128)}, u32[]{:S(2)}) copy-start(%table)
  %copy-done = f32[100,8]{1,0:T(8,128)S(1)} copy-done(%copy-start)
  %slice-start = ((f32[100,8]{1,0}), f32[10,8]{1,0:S(1)}, s32[]{:S(2)}) slice-start(%table), slice={[0:10], [0:8]}
  %slice-done = f32[10,8]{1,0:S(1)} slice-done(%slice-start)
  %fusion.1 = bf16[4,8]{1,0:T(8,128)S(1)} fusion(%copy-done, %ids), kind=kCustom, metadata={op_name="model/layer_3/gather"}
  %fusion.2 = (bf16[4,8]{1,0}, f32[2]{0:S(1)}) fusion(%fusion.1, /*index=1*/%ids), kind=kLoop, metadata={op_name="model/layer_4/gather"}
  %get-tuple-element.9 = bf16[4,8]{1,0} get-tuple-element(%fusion.2), index=0
  ROOT %copy = bf16[4,8]{1,0} copy(%get-tuple-element.9)
}
"""  # noqa: E501


def test_what_moves_to_and_from_hbm_alone_is_counted():
    assert list(traffic(HLO)) == [
        ("copy-start f32[100,8]", 3200),
        ("slice-start f32[100,8]", 320),
        ("model/layer_*/gather", 16),
        ("model/layer_*/gather", 64 + 16),
        ("copy bf16[4,8]", 64 + 64),
    ]


def test_what_stands_for_the_same_is_added_up():
    moved = dict(by_source(HLO))
    assert moved["model/layer_*/gather"] == 96
    assert list(moved.values()) == sorted(moved.values(), reverse=True)
