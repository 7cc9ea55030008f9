/* The control plane: deploying, listing and deleting functions. Each answers the exchange, now or later. */
#ifndef SERVER_API_CONTROL_H
#define SERVER_API_CONTROL_H

struct exchange;

void control_list(struct exchange *x);
void control_get(struct exchange *x, const char *name);
void control_put(struct exchange *x, const char *name);
void control_delete(struct exchange *x, const char *name);
/* Ends a quarantine. */
void control_lift(struct exchange *x, const char *name);

#endif
