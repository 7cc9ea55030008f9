/* A call of compiled code, in the convention of abi/abi.h, of a function that is not compiled (runtime/precise/compiled.c). Behind
 * the vmctx in rdi and the depth in esi, arguments lie in four registers for numbers and eight for floats and vectors, and then on
 * the stack; r12 has the gas counter, eax the function's number. The result may be of any type, so it goes to both places where a
 * caller might look. */
#include "runtime/arch/x86_64/registers.inc"

/* struct crossing */
#define FLOATS 32
#define GAS 160
#define STACK 168
#define RESULT 176
#define SIZE 192

        .text
        function crossing_leave
        pushq   %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset %rbp, -16
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        subq    $SIZE, %rsp
        movq    %rdx, (%rsp)
        movq    %rcx, 8(%rsp)
        movq    %r8, 16(%rsp)
        movq    %r9, 24(%rsp)
        .irp    i, 0, 1, 2, 3, 4, 5, 6, 7
        movups  %xmm\i, FLOATS + \i * 16(%rsp)
        .endr
        movq    %r12, GAS(%rsp)
        leaq    16(%rbp), %rdx
        movq    %rdx, STACK(%rsp)
        movl    %eax, %edx
        movq    %rsp, %rcx
        call    compiled_leave
        movq    GAS(%rsp), %r12
        movq    RESULT(%rsp), %rax
        movups  RESULT(%rsp), %xmm0
        leave
        .cfi_def_cfa %rsp, 8
        ret
        end_function crossing_leave

        .section .note.GNU-stack, "", @progbits
