/*
 * sts_question.h - the MTA-STS question of one destination, asked once for all its hosts.
 *
 * It is under way while addresses and TLSA records of the first host are looked up; who needs the
 * answer by then reads or awaits it. Owner: struct destination. Freed early, the policy is fetched
 * for the cache all the same (mtasts.h).
 */
#ifndef POLICY_STS_QUESTION_H
#define POLICY_STS_QUESTION_H

#include "policy/mtasts.h"

struct sts_question;

/* domain: the next-hop domain, never one above or below it (R-STS-01). Never NULL. */
struct sts_question *sts_question_ask(struct mtasts *mtasts, const char *domain);
void sts_question_free(struct sts_question **question); /* no callback after this */

/* NULL: not answered yet. Lives as long as the question. */
const struct sts_answer *sts_question_answer(const struct sts_question *question);

/*
 * While there is no answer: calls back on a later turn, once, when there is. One may wait at a
 * time; the callback may free the question.
 */
typedef void sts_ready_fn(void *arg);
void sts_question_await(struct sts_question *question, sts_ready_fn *ready, void *arg);
void sts_question_leave(struct sts_question *question); /* waits no more; NULL is welcome */

#endif
