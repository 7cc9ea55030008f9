/* A bar for what takes long. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include "gasworks.h"

/* Has compilations by an engine with these options show a bar on standard error, if that is a terminal and they take longer than
 * half a second. Call right before the engine is made. */
void cli_show_progress(struct gw_engine_options *options);

#endif
