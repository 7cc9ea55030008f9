/* Work that is too long for the thread that runs a guest, on a thread of its own. */
#ifndef RUNTIME_BESIDE_H
#define RUNTIME_BESIDE_H

#include "gasworks.h"

/* Calls work(arg) once, on another thread, which has less of a core than others. False: there is none, and nothing is called. Any
 * thread. The engine is not destroyed before the work is done. */
bool beside_run(struct gw_engine *engine, void (*work)(void *arg), void *arg);
/* Until all of that is done. Nobody begins more. */
void beside_wait(struct gw_engine *engine);

#endif
