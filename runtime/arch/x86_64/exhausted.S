/* What a check of compiled code calls when the counter is negative (instrument/meter/pass.c, exec_ctx.exhausted): asks the runtime,
 * and leaves every register as it was, so that a check costs the code around it a subtraction and a branch and nothing else.
 *
 * Called at any alignment of the stack. The return address leads to four bytes, the distance from there to where the code goes
 * on, and then to the instruction to return to. One version for each size of vector registers. */
#include "runtime/arch/x86_64/registers.inc"

        .macro  begin name
        function \name
        pushq   %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset %rbp, -16
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        push    GENERAL
        .endm

/* The registers pushed above end 72 bytes below rbp. */
        .macro  end name
        leaq    -72(%rbp), %rsp
        pop     GENERAL_BACK
        popq    %rbp
        .cfi_def_cfa %rsp, 8
        addq    $4, (%rsp)
        ret
        end_function \name
        .endm

        .macro  ask
        movq    8(%rbp), %rsi
        movslq  (%rsi), %rax
        addq    %rax, %rsi
        movq    %gs:EXEC_SELF, %rdi
        call    gas_exhausted
        .endm

        .text
        .irp    kind, sse, avx, avx512
        begin   gas_exhausted_\kind
        with_\kind ask
        end     gas_exhausted_\kind
        .endr

        .section .note.GNU-stack, "", @progbits
