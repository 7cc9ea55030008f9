/* The dashboard's files as they are, each between ui_file_SYMBOL and ui_end_SYMBOL. Names are found in server/ui/static (-I). */
        .section .rodata
#define UI_FILE(symbol, name, type) .hidden ui_file_##symbol; .globl ui_file_##symbol; ui_file_##symbol: .incbin name; .hidden ui_end_##symbol; .globl ui_end_##symbol; ui_end_##symbol:
#include "server/ui/files.def"
        .section .note.GNU-stack,"",@progbits
