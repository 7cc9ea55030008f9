/* Of the program, for who asks. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

#define GASWORKS_VERSION "0.1.0"

#endif
