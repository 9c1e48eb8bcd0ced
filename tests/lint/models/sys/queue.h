/* sys/queue.h - see opaque.h. */
#include_next <sys/queue.h>

#include "../opaque.h"

#undef TAILQ_INSERT_TAIL
#define TAILQ_INSERT_TAIL(head, element, field) ((void)opaque_add((head), (element)))
#undef TAILQ_REMOVE
#define TAILQ_REMOVE(head, element, field) ((void)opaque_delete((head), (element)))
#undef LIST_INSERT_HEAD
#define LIST_INSERT_HEAD(head, element, field) ((void)opaque_add((head), (element)))
/* LIST_REMOVE does not know the head: it is looked at anew each time. */
#undef LIST_FIRST
#define LIST_FIRST(head) ((__typeof__((head)->lh_first))opaque_find((head), 0))
