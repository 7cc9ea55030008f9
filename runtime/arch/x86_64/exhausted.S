/* What a check of compiled code calls when the counter is negative (instrument/meter/pass.c, exec_ctx.exhausted): asks the runtime,
 * and leaves every register as it was, so that a check costs the code around it a subtraction and a branch and nothing else.
 *
 * Called at any alignment of the stack. The return address leads to four bytes, the distance from there to where the code goes
 * on, and then to the instruction to return to. One version for each size of vector registers. */
#include "abi/exec_offset.h"

/* `move` between vector register i and its place, of `width` bytes, for i in `registers`. */
        .macro  save move, kind, width, registers:vararg
        .irp    i, \registers
        \move   %\kind\i, \i * \width(%rsp)
        .endr
        .endm
        .macro  load move, kind, width, registers:vararg
        .irp    i, \registers
        \move   \i * \width(%rsp), %\kind\i
        .endr
        .endm
        .macro  save_masks registers:vararg
        .irp    i, \registers
        kmovq   %k\i, 2048 + \i * 8(%rsp)
        .endr
        .endm
        .macro  load_masks registers:vararg
        .irp    i, \registers
        kmovq   2048 + \i * 8(%rsp), %k\i
        .endr
        .endm

#define LOW 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
#define HIGH 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
#define MASKS 0, 1, 2, 3, 4, 5, 6, 7

        .macro  begin name
        .globl  \name
        .hidden \name
        .type   \name, @function
        .p2align 4
\name:
        .cfi_startproc
        pushq   %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset %rbp, -16
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        .irp    r, rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
        pushq   %\r
        .endr
        .endm

/* The registers pushed above end 72 bytes below rbp. */
        .macro  end name
        leaq    -72(%rbp), %rsp
        .irp    r, r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax
        popq    %\r
        .endr
        popq    %rbp
        .cfi_def_cfa %rsp, 8
        addq    $4, (%rsp)
        ret
        .cfi_endproc
        .size   \name, .-\name
        .endm

        .macro  ask
        movq    8(%rbp), %rsi
        movslq  (%rsi), %rax
        addq    %rax, %rsi
        movq    %gs:EXEC_SELF, %rdi
        call    gas_exhausted
        .endm

        .macro  reserve size
        subq    $\size, %rsp
        andq    $-64, %rsp
        .endm

        .text
        begin   gas_exhausted_sse
        reserve 256
        save    movaps, xmm, 16, LOW
        ask
        load    movaps, xmm, 16, LOW
        end     gas_exhausted_sse

        begin   gas_exhausted_avx
        reserve 512
        save    vmovaps, ymm, 32, LOW
        vzeroupper
        ask
        load    vmovaps, ymm, 32, LOW
        end     gas_exhausted_avx

        begin   gas_exhausted_avx512
        reserve 2112
        save    vmovaps, zmm, 64, LOW, HIGH
        save_masks MASKS
        vzeroupper
        ask
        load    vmovaps, zmm, 64, LOW, HIGH
        load_masks MASKS
        end     gas_exhausted_avx512

        .section .note.GNU-stack, "", @progbits
