/* Where the signal handler leads code that touched a closed block of memory (runtime/blocks.c, trap.c): the runtime looks at the
 * clock, others may run, and the code goes on where it was interrupted, as if nothing had been.
 *
 * On the stack lies the address to go on at, as after a call, and behind it the 128 bytes that the code may use without having
 * moved its stack pointer. Flags are saved, too: between any two instructions they may be somebody's. */
#include "runtime/arch/x86_64/registers.inc"

        .macro  touched name, save
        function \name
        .cfi_signal_frame
        .cfi_def_cfa %rsp, 136
        .cfi_offset %rip, -136
        pushq   %rbp
        .cfi_def_cfa_offset 144
        .cfi_offset %rbp, -144
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        pushfq
        push    GENERAL
        \save  look
        leaq    -80(%rbp), %rsp
        pop     GENERAL_BACK
        popfq
        popq    %rbp
        .cfi_def_cfa %rsp, 136
        ret     $128
        end_function \name
        .endm

        .macro  look
        movq    %gs:EXEC_SELF, %rdi
        call    helper_touched
        .endm

        .text
        touched touched_sse, with_sse
        touched touched_avx, with_avx
        touched touched_avx512, with_avx512

        .section .note.GNU-stack, "", @progbits
