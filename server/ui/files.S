/* The dashboard's files, each between ui_file_SYMBOL and ui_end_SYMBOL. Those of UI_FILE are found in server/ui/static (-I). */
        .section .rodata
#define BEGIN(symbol) .hidden ui_file_##symbol; .globl ui_file_##symbol; ui_file_##symbol:
#define END(symbol) .hidden ui_end_##symbol; .globl ui_end_##symbol; ui_end_##symbol:

#define UI_FILE(symbol, name, type) BEGIN(symbol) .incbin name; END(symbol)
#define UI_MADE(symbol, name, type)
#include "server/ui/files.def"

/* The fields of a receipt's leaf, by their keys: [WORD, KIND]. */
BEGIN(fields)
        .ascii "export const FIELDS = [\n"
#define FIELD(key, name, kind, word) .ascii "  ['" ; .ascii word; .ascii "', '"; .ascii #kind; .ascii "'],\n"
#include "runtime/receipt/leaf.def"
        .ascii "];\n"
END(fields)
        .section .note.GNU-stack,"",@progbits
