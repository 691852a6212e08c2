"""Resources: machine code is read right (snippets with known answers), and real compilations give the counts that the
kernel's source states."""

from __future__ import annotations

import os
from typing import Any

import pytest

from attnsim.kernels import amdgcn, sass
from attnsim.kernels.compile_many import Job, compile_many, pool
from attnsim.kernels.loops import Flow, Instruction
from attnsim.kernels.resources import CompileError, Resources, loops_of
from attnsim.simulator.config import Config

from .small_kernel import WARPS, K, M, N, compile_small


def listing(*lines: str) -> str:
    """Lines as nvdisasm prints them: a label as it is, an instruction with its address."""
    return "\n".join(
        line if line.endswith(":") else f"        /*{16 * n:04x}*/ {line:>60} ;" for n, line in enumerate(lines)
    )


HOPPER = listing(
    "forward:",
    "S2R R0, SR_TID.X",
    "@!P0 BRA `(.L_end)",
    ".L_head:",
    "LDGSTS.E.BYPASS.128 [R1], [R2.64]",
    "HGMMA.64x128x16.F32.BF16 R24, gdesc[UR8], R24, gsb0",
    "@P1 BRA `(.L_full)",
    "FMNMX R3, R4, R5, !PT",
    "FADD R3, R4, R5",
    ".L_full:",
    "@P2 BRA `(.L_wait)",
    ".L_back:",
    "MUFU.EX2 R3, R3",
    "FFMA2 R4, R4, R6, R8",
    "FFMA R9, R9, R6, R8",
    "MUFU.RCP R3, R3",
    "@P3 BRA `(.L_head)",
    ".L_end:",
    "@P4 EXIT",
    "STG.E [R2], R3",
    "EXIT",
    ".L_wait:",
    "SYNCS.PHASECHK.TRANS64.TRYWAIT P2, [R3], R4",
    "@!P2 BRA `(.L_wait)",
    "BRA `(.L_back)",
)


def test_a_hopper_loop_is_found_though_its_waiting_stands_behind_the_end() -> None:
    (loop,) = loops_of(*sass.parse(HOPPER), 8, sass)
    (product,) = loop.matrix
    assert (product.shape, product.per, product.count) == ((64, 128, 16), "warpgroup", 1)
    assert product.flops == loop.matrix_flops == 2 * 64 * 128 * 16 * 2
    assert loop.exponentials == 32 * 8
    assert loop.counts == {"async_copy": 1, "exp": 1, "special": 1, "fma": 3, "max": 1, "add": 1}
    assert loop.fma_flops == 3 * 2 * 32 * 8
    # All of the loop: 10 in line, the 2 that wait, and the jump back.
    assert loop.instructions == 13 + 1


def test_of_an_if_and_its_else_the_heavier_way_counts() -> None:
    text = listing(
        ".L_head:", "@P0 BRA `(.L_else)", "HMMA.16816.F32.BF16 R0, R4, R8, R0", "BRA `(.L_join)", ".L_else:",
        "HMMA.16816.F32.BF16 R0, R4, R8, R0", "HMMA.1688.F32.TF32 R0, R4, R8, R0", ".L_join:", "BRA.U UP0, `(.L_head)",
        "EXIT",
    )  # fmt: skip
    (loop,) = loops_of(*sass.parse(text), 4, sass)
    assert [(i.shape, i.count) for i in loop.matrix] == [((16, 8, 16), 1), ((16, 8, 8), 1)]
    assert loop.matrix_flops == 4 * 2 * (16 * 8 * 16 + 16 * 8 * 8)


def test_only_innermost_loops_with_products_are_listed_and_the_heaviest_is_main() -> None:
    text = listing(
        ".L_outer:", "QMMA.16832.F32.E4M3.E4M3 R0, R4, R8, R0", ".L_first:", "QMMA.16832.F32.E4M3.E4M3 R0, R4, R8, R0",
        "@P0 BRA `(.L_first)", ".L_second:", "QMMA.16832.F32.E4M3.E4M3 R0, R4, R8, R0",
        "QMMA.16832.F32.E4M3.E4M3 R0, R4, R8, R0", "@P1 BRA `(.L_second)", ".L_plain:", "FFMA R0, R1, R2, R3",
        "@P2 BRA `(.L_plain)", "@P3 BRA `(.L_outer)", "EXIT",
    )  # fmt: skip
    loops = loops_of(*sass.parse(text), 1, sass)
    assert [loop.matrix_flops for loop in loops] == [8192, 16384]
    found = Resources("forward", "sm_89", 1, 1, 0, 0, 0, 0, loops)
    assert found.main_loop is loops[1]
    assert Resources("copy", "sm_89", 1, 1, 0, 0, 0, 0, ()).main_loop is None


def test_blackwell_shapes_come_from_the_descriptor() -> None:
    words = {"UR31": 0x8100490, "UR25": 0x8210490}
    assert sass.described("UTCHMMA", words["UR31"]) == (128, 64, 16)
    assert sass.described("UTCHMMA", words["UR25"]) == (128, 128, 16)
    # The PTX of a 64 x 32 product of fp8 and of tf32 (type 2 of A and B).
    assert sass.described("UTCQMMA", 4 << 24 | 4 << 17) == (64, 32, 32)
    assert sass.described("UTCHMMA", 4 << 24 | 4 << 17 | 2 << 10 | 2 << 7) == (64, 32, 8)
    lines = [
        ".L_head:", "UMOV UR31, 0x8100490", "UMOV UR19, 0x40004040",
        "UTCHMMA gdesc[UR6], gdesc[UR18], tmem[UR12], tmem[UR30], idesc[UR31], !UPT",
        "UTCHMMA gdesc[UR8], gdesc[UR18], tmem[UR12], tmem[UR30], idesc[UR31], UPT", "UMOV UR31, 0x8210490",
        "UTCHMMA tmem[UR6], gdesc[UR18], tmem[UR12], tmem[UR30], idesc[UR31], UPT", "@P0 BRA `(.L_head)", "EXIT",
    ]  # fmt: skip
    (loop,) = loops_of(*sass.parse(listing(*lines)), 8, sass)
    assert [(i.shape, i.per, i.count) for i in loop.matrix] == [
        ((128, 64, 16), "block", 2), ((128, 128, 16), "block", 1)
    ]  # fmt: skip
    assert loop.matrix_flops == 2 * 16 * 128 * (2 * 64 + 128)
    lines[1] = "R2UR UR31, R5"
    with pytest.raises(CompileError, match="shape of a matrix instruction is unknown"):
        loops_of(*sass.parse(listing(*lines)), 8, sass)


def test_specialised_warps_are_one_loop() -> None:
    text = listing(
        "BRX R2 -0x1b0 (*\"BRANCH_TARGETS .L_load,.L_product,.L_softmax\"*)",
        ".L_load:", "UTMALDG.2D [UR8], [UR4]", "@P0 BRA `(.L_load)", "EXIT", ".L_product:", "UMOV UR31, 0x8100490",
        "UTCHMMA gdesc[UR6], gdesc[UR18], tmem[UR12], tmem[UR30], idesc[UR31], UPT", "@P0 BRA `(.L_product)", "EXIT",
        ".L_softmax:", "MUFU.EX2 R0, R0", "MUFU.EX2 R1, R1", "@P0 BRA `(.L_softmax)", "EXIT",
    )  # fmt: skip
    (loop,) = loops_of(*sass.parse(text), 4, sass, specialised=True)
    assert (loop.matrix_flops, loop.exponentials) == (2 * 128 * 64 * 16, 2 * 32 * 4)


def test_usage_is_read_from_cuobjdump() -> None:
    text = " Common:\n  GLOBAL:11 CONSTANT[4]:8\n Function forward:\n  REG:218 STACK:40 SHARED:1024 LOCAL:8 TEXTURE:0\n"
    assert sass.usage(text) == (218, 48)
    with pytest.raises(ValueError, match="no resource usage"):
        sass.usage("")


AMD = """
forward:                                ; @forward
	s_load_dwordx4 s[0:3], s[4:5], 0x0
	s_cbranch_scc1 .LBB0_3
; %bb.1:
	s_branch .LBB0_2
.LBB0_4:                                ;   in Loop: Header=BB0_2 Depth=1
	v_mfma_f32_16x16x16_bf16 v[16:31], v[164:165], v[166:167], v[16:31]
	v_pk_fma_f32 v[0:1], v[2:3], v[4:5], v[6:7]
	s_cbranch_scc0 .LBB0_3
.LBB0_2:                                ; =>This Inner Loop Header: Depth=1
	buffer_load_dwordx4 v[2:5], v1, s[8:11], 0 offen
	buffer_load_dwordx4 v1, s[8:11], 0 offen lds
	ds_read_b64_tr_b16 v[2:3], v4
	ds_write_b128 v4, v[0:3]
	v_mfma_f32_32x32x8_bf16 v[16:31], v[164:165], v[166:167], v[16:31]
	v_mfma_f32_4x4x4_16b_f16 v[16:31], v[164:165], v[166:167], v[16:31]
	v_exp_f32_e32 v1, v1
	v_fmac_f32_e32 v1, v2, v3
	v_mul_f32_e32 v1, v2, v3
	v_max3_f32 v1, v2, v3, v4
	s_cbranch_vccnz .LBB0_4
; %bb.3:
	scratch_load_dword v1, off, off
	s_branch .LBB0_4
.LBB0_3:
	global_store_dwordx4 v0, v[2:5], s[2:3]
	s_endpgm
.Lfunc_end0:
	v_mfma_f32_32x32x8_bf16 v[16:31], v[164:165], v[166:167], v[16:31]
"""


def test_an_amd_loop_is_read() -> None:
    (loop,) = loops_of(*amdgcn.parse(AMD), 4, amdgcn)
    assert {i.name: (i.shape, i.count, i.flops) for i in loop.matrix} == {
        "v_mfma_f32_16x16x16_bf16": ((16, 16, 16), 1, 4 * 8192),
        "v_mfma_f32_32x32x8_bf16": ((32, 32, 8), 1, 4 * 16384),
        "v_mfma_f32_4x4x4_16b_f16": ((64, 4, 4), 1, 4 * 2048),
    }
    assert loop.exponentials == 64 * 4
    assert loop.counts == {
        "async_copy": 1, "global_load": 1, "shared_load": 1, "shared_store": 1, "exp": 1, "fma": 3, "mul": 1, "max": 1,
        "spill_load": 1,
    }  # fmt: skip


def test_amd_usage_is_read_from_the_metadata() -> None:
    names = {"agpr_count": 8, "private_segment_fixed_size": 0, "sgpr_spill_count": 1, "vgpr_count": 136,
             "vgpr_spill_count": 2}  # fmt: skip
    text = "".join(f"    .{name}: {value}\n" for name, value in names.items())
    assert amdgcn.usage(text) == (136, 12)
    assert amdgcn.usage(text.replace("size: 0", "size: 64")) == (136, 64)
    with pytest.raises(ValueError, match="no vgpr_spill_count"):
        amdgcn.usage("    .vgpr_count: 1\n    .sgpr_spill_count: 1\n")


def test_code_without_loops_has_none() -> None:
    assert loops_of([], {}, 4, sass) == ()
    assert loops_of(*sass.parse(listing("FFMA R0, R1, R2, R3", "EXIT")), 4, sass) == ()
    # A jump to itself that nothing reaches, as nvdisasm prints behind every kernel.
    assert loops_of(*sass.parse(listing("EXIT", ".L_x:", "BRA `(.L_x)")), 4, sass) == ()


def test_a_jump_into_the_middle_makes_no_loop() -> None:
    code = [Instruction("BRA", "", ("b",)), Instruction("NOP", ""), Instruction("BRA", "", ("a",), False)]
    assert Flow(code, {"a": 1, "b": 2}).loops() == {}


# What ptxas and LLVM must emit for one iteration of small_kernel.products, by hand: a product of 128 x 64 x 32 by 4
# warps, 8192 exponentials.
FLOPS = 2 * M * N * K
INSTRUCTIONS = {
    "sm_80": ("HMMA.16816.F32.BF16", (16, 8, 16), "warp", M * N * K // (16 * 8 * 16) // WARPS),
    "sm_90": ("HGMMA.64x64x16.F32.BF16", (64, 64, 16), "warpgroup", M // 64 * K // 16),
    "sm_100": ("UTCHMMA", (128, 64, 16), "block", K // 16),
    "gfx942": ("v_mfma_f32_32x32x8_bf16", (32, 32, 8), "warp", M * N * K // (32 * 32 * 8) // WARPS),
}


@pytest.fixture(scope="module")
def small() -> dict[str, Any]:
    """The small kernel compiled for each target, and one that does not compile."""
    with pool(1) as executor:
        found = {target: executor.submit(compile_small, target) for target in (*INSTRUCTIONS, "sm_103")}
        found["illegal"] = executor.submit(compile_small, "sm_90", "illegal")
        return {name: future.result() for name, future in found.items()}


@pytest.mark.parametrize("target", INSTRUCTIONS)
def test_a_real_compilation_counts_what_the_source_says(small: dict[str, Any], target: str) -> None:
    found = small[target]
    assert isinstance(found, Resources), found
    loop = found.main_loop
    assert loop is not None
    (product,) = loop.matrix
    name, shape, per, count = INSTRUCTIONS[target]
    assert (product.name, product.shape, product.per, product.count, product.flops) == (name, shape, per, count, FLOPS)
    assert loop.matrix_flops == FLOPS
    assert loop.exponentials == M * N
    assert (found.kernel, found.target, found.warps, found.stages) == ("products", target, WARPS, 2)
    assert found.spill_bytes == 0
    assert 16 < found.registers <= 255
    # At least one stage of both operands; on Blackwell the product in tensor memory, a column a key.
    assert found.shared_memory_bytes >= (M + N) * K * 2
    assert (found.tensor_memory_columns >= N) == (target == "sm_100")
    # Rows of 64 bytes are copied 16 at a time: addresses and strides were taken as divisible by 16.
    copies = loop.counts["global_load"] if target == "gfx942" else loop.counts["async_copy"]
    lanes = WARPS * (64 if target == "gfx942" else 32)
    assert copies * lanes * 16 == (M + N) * K * 2


def test_a_chip_that_the_disassembler_does_not_know_is_read_all_the_same(small: dict[str, Any]) -> None:
    assert small["sm_103"].main_loop.matrix_flops == FLOPS


def test_a_compile_error_is_a_sentence(small: dict[str, Any]) -> None:
    assert isinstance(small["illegal"], str)
    assert small["illegal"].startswith("illegal does not compile for sm_90: ")
    assert "\n" not in small["illegal"]


def test_nothing_compiles_in_the_interpreter() -> None:
    assert "interpreter" in str(compile_small("sm_90"))


class Bomb(dict[str, Any]):
    """Parameters that end the process which receives them."""

    def __reduce__(self) -> Any:
        return os._exit, (1,)


def test_jobs_are_compiled_elsewhere_and_a_crash_costs_one() -> None:
    config = Config((64,), (64,), warps=4, stages=2)
    sizes = {"seq": 1024, "head_dim": 64, "heads": 2}
    jobs = [
        Job("flash", "mha", sizes, config, "sm_90"),
        Job("flash", "mha", sizes, config, "sm_90", Bomb()),
        Job("flash", "mha", {**sizes, "direction": "backward"}, config, "sm_80", every=True),
        Job("flash", "mha", sizes, config, "sm_91"),
        Job("simplicial", "two-simplicial", {**sizes, "direction": "backward"}, config, "sm_90"),
    ]
    good, bomb, backward, unknown, forward_only = compile_many(jobs, workers=1)
    assert good.main.main_loop is not None
    assert good.main.main_loop.matrix_flops == 4 * 64 * 64 * 64
    assert bomb.error == "the compiler for sm_90 crashed on 64/64 warps=4 stages=2"
    with pytest.raises(CompileError, match="crashed"):
        _ = bomb.main
    assert [r.kernel for r in backward.resources] == ["row_sums", "backward"]
    assert backward.resources[1].main_loop is not None
    assert backward.resources[1].main_loop.matrix_flops == 10 * 64 * 64 * 64
    assert unknown.error == "unknown target 'sm_91'; did you mean 'sm_90' or 'sm_89'?"
    assert forward_only.error is not None
    assert "no backward pass" in forward_only.error
