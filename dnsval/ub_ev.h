/*
 * ub_ev.h - lets libunbound run inside our libev loop.
 */
#ifndef DNSVAL_UB_EV_H
#define DNSVAL_UB_EV_H

struct ev_loop;
struct ub_event_base;

/* For ub_ctx_create_ub_event(), which does not take it over: free it after ub_ctx_delete(). */
struct ub_event_base *ub_ev_new(struct ev_loop *loop);
void ub_ev_free(struct ub_event_base **base);

#endif
