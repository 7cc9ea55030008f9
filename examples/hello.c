/* The smallest function: answers every request with one line. */
#include "gasworks_guest.h"

GW_HANDLER(void) { gw_reply("hello\n", 6); }
