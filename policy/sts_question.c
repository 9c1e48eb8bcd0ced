/*
 * sts_question.c - see sts_question.h: a lookup of mtasts.h, its answer kept, and who waits for it.
 */
#include "policy/sts_question.h"

#include "conf/mem.h"

#include <assert.h>
#include <stdlib.h>

/* Under way while lookup is set, answered once answer is. */
struct sts_question {
	struct sts_lookup *lookup;
	struct sts_answer *answer;
	sts_ready_fn *ready; /* NULL: nobody waits */
	void *arg;
};

static void on_answer(struct sts_answer *answer, void *arg)
{
	struct sts_question *question = arg;
	sts_ready_fn *ready = question->ready;

	question->lookup = NULL;
	question->answer = answer;
	question->ready = NULL;
	if (ready)
		ready(question->arg);
}

struct sts_question *sts_question_ask(struct mtasts *mtasts, const char *domain)
{
	struct sts_question *question = mem_zero(1, sizeof *question);

	question->lookup = sts_lookup_start(mtasts, domain, on_answer, question);
	return question;
}

void sts_question_free(struct sts_question **question)
{
	if (!*question)
		return;
	sts_lookup_cancel(&(*question)->lookup);
	sts_answer_free(&(*question)->answer);
	free(*question);
	*question = NULL;
}

const struct sts_answer *sts_question_answer(const struct sts_question *question)
{
	return question->answer;
}

void sts_question_await(struct sts_question *question, sts_ready_fn *ready, void *arg)
{
	assert(!question->answer && !question->ready);
	question->ready = ready;
	question->arg = arg;
}

void sts_question_leave(struct sts_question *question)
{
	if (question)
		question->ready = NULL;
}
