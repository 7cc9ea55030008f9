/* The stack switch for x86-64 System V (contract: runtime/fiber.h).
 *
 * A suspended context is its stack pointer; on its stack lie, from there upwards: the floating-point control words, r15 r14 r13
 * r12 rbx rbp, and the address to go on at. Everything else is the caller's to save, as with any call. */

        .text
        .globl  fiber_switch
        .hidden fiber_switch
        .type   fiber_switch, @function
        .p2align 4
/* void fiber_switch(void **save, void *load): stores the running context's stack pointer to *save and goes on with `load`. */
fiber_switch:
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r15, 0
        subq    $8, %rsp
        .cfi_adjust_cfa_offset 8
        stmxcsr (%rsp)
        fnstcw  4(%rsp)
        movl    (%rsp), %eax
        movzwl  4(%rsp), %ecx
        movq    %rsp, (%rdi)
        movq    %rsi, %rsp              /* the same layout on the other stack: the rules above stay right */
        cmpl    %eax, (%rsp)            /* loading the control words takes longer than looking */
        je      1f
        ldmxcsr (%rsp)
1:      cmpw    %cx, 4(%rsp)
        je      2f
        fldcw   4(%rsp)
2:      addq    $8, %rsp
        .cfi_adjust_cfa_offset -8
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbp
        popq    %rcx                    /* no return: what the processor remembers of calls is of the other stack */
        .cfi_adjust_cfa_offset -8
        .cfi_register %rip, %rcx
        jmpq    *%rcx
        .cfi_endproc
        .size   fiber_switch, .-fiber_switch

        .globl  fiber_begin
        .hidden fiber_begin
        .type   fiber_begin, @function
        .p2align 4
/* First code on a fresh stack: calls rbx(r12). If that returns, it gives the resumer's stack pointer, and here is the return from
 * the resumer's fiber_switch: a return that the processor expects, as calls and returns have been in pairs since. Unwinders stop
 * here. */
fiber_begin:
        .cfi_startproc
        .cfi_undefined %rip
        movq    %r12, %rdi
        xorl    %ebp, %ebp
        callq   *%rbx
        movq    %rax, %rsp
        ldmxcsr (%rsp)
        fldcw   4(%rsp)
        addq    $8, %rsp
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbx
        popq    %rbp
        ret
        .cfi_endproc
        .size   fiber_begin, .-fiber_begin

        .section .note.GNU-stack, "", @progbits
