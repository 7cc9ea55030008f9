/* void call_with(const struct registers *before, struct registers *after, void (*callee)(void)): fills every register, the flags and
 * the red zone from `before`, comes to `callee` as code that touched memory does (call_touched) or as a gas check (call_exhausted),
 * and writes what is there then to `after`. Offsets are those of struct registers in saved_registers.c. */
        .set    FLAGS, 120
        .set    RED_ZONE, 128
        .set    MASKS, 256
        .set    VECTORS, 320
        .set    SCRATCH, -256

/* `move` between general register and its place behind `base`, all but the one that holds the base. */
        .macro  general from_memory, base, registers:vararg
        .set    at, 0
        .irp    r, \registers
        .ifnc   \base, \r
        .if     \from_memory
        movq    at(%\base), %\r
        .else
        movq    %\r, at(%\base)
        .endif
        .endif
        .set    at, at + 8
        .endr
        .endm
#define GENERAL rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
#define LOW 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
#define HIGH 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31

        .macro  vectors from_memory, base, move, kind, registers:vararg
        .irp    i, \registers
        .if     \from_memory
        \move   VECTORS + \i * 64(%\base), %\kind\i
        .else
        \move   %\kind\i, VECTORS + \i * 64(%\base)
        .endif
        .endr
        .endm

        .macro  masks from_memory, base
        .irp    i, 0, 1, 2, 3, 4, 5, 6, 7
        .if     \from_memory
        kmovq   MASKS + \i * 8(%\base), %k\i
        .else
        kmovq   %k\i, MASKS + \i * 8(%\base)
        .endif
        .endr
        .endm

        .macro  all_vectors from_memory, base, size
        .ifc    \size, sse
        vectors \from_memory, \base, movups, xmm, LOW
        .endif
        .ifc    \size, avx
        vectors \from_memory, \base, vmovups, ymm, LOW
        .endif
        .ifc    \size, avx512
        vectors \from_memory, \base, vmovups, zmm, LOW, HIGH
        masks   \from_memory, \base
        .endif
        .endm

        .macro  red_zone from, to, by
        .set    at, 0
        .rept   16
        movq    at + \from, %\by
        movq    %\by, at + \to
        .set    at, at + 8
        .endr
        .endm

/* After: rax is in the scratch place, 8(%rsp) is `after`. */
        .macro  write_all size
        movq    %rax, SCRATCH(%rsp)
        movq    8(%rsp), %rax
        general 0, rax, GENERAL
        red_zone -128(%rsp), RED_ZONE(%rax), rbx
        pushfq
        popq    FLAGS(%rax)
        movq    SCRATCH(%rsp), %rbx
        movq    %rbx, (%rax)
        all_vectors 0, rax, \size
        .endm

        .macro  begin name, size
        .globl  \name
        .type   \name, @function
\name:
        .irp    r, rbp, rbx, r12, r13, r14, r15, rsi, rdx
        pushq   %\r
        .endr
        all_vectors 1, rdi, \size
        pushq   FLAGS(%rdi)
        popfq
        red_zone RED_ZONE(%rdi), -128(%rsp), rax
        .endm

        .macro  end name
        leaq    16(%rsp), %rsp
        .irp    r, r15, r14, r13, r12, rbx, rbp
        popq    %\r
        .endr
        cld
        ret
        .size   \name, .-\name
        .endm

        .macro  make size
        begin   call_touched_\size, \size
        leaq    1f(%rip), %rax
        movq    %rax, -136(%rsp)
        general 1, rdi, GENERAL
        movq    40(%rdi), %rdi
        leaq    -136(%rsp), %rsp
        jmp     *136(%rsp)
1:      write_all \size
        end     call_touched_\size

        begin   call_exhausted_\size, \size
        general 1, rdi, GENERAL
        movq    40(%rdi), %rdi
        leaq    -128(%rsp), %rsp
        call    *128(%rsp)
        .long   0
        leaq    128(%rsp), %rsp
        write_all \size
        end     call_exhausted_\size
        .endm

        .text
        make    sse
        make    avx
        make    avx512

        .macro  overwrite name, instruction, kind, registers:vararg
        .globl  overwrite_\name
        .type   overwrite_\name, @function
overwrite_\name:
        .irp    i, \registers
        .ifc    \kind, xmm
        \instruction %xmm\i, %xmm\i
        .else
        \instruction %\kind\i, %\kind\i, %\kind\i
        .endif
        .endr
        .ifc    \kind, zmm
        kxorq   %k1, %k1, %k1
        kxorq   %k7, %k7, %k7
        .endif
        ret
        .size   overwrite_\name, .-overwrite_\name
        .endm

        overwrite sse, pxor, xmm, LOW
        overwrite avx, vxorps, ymm, LOW
        overwrite avx512, vpxorq, zmm, LOW, HIGH

        .section .note.GNU-stack, "", @progbits
