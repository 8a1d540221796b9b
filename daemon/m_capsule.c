#include "daemon/capsules.h"
#include "daemon/dispatch.h"
#include "proto/jx.h"

#include "proto/banned.h"

static void
cancel_op(void *arg)
{
	capsule_op_cancel(arg);
}

/*
 * An operation that has answered its call is NULL, and its call must not be
 * touched any more.
 */
static void
cancel_with(struct call *c, struct capsule_op *op)
{
	if (op != NULL)
		call_on_cancel(c, cancel_op, op);
}

static const char *
capsule_of(const struct call *c)
{
	return jx_str(c->params, "capsule");
}

void
m_capsule_create(struct call *c)
{
	capsules_create(c->svc->capsules, c->uid, c->params, call_done_text, c);
}

void
m_capsule_list(struct call *c)
{
	cancel_with(c, capsules_list(c->svc->capsules, c->uid, c->params,
			   call_done_text, c));
}

void
m_capsule_get(struct call *c)
{
	cancel_with(c, capsules_get(c->svc->capsules, c->uid, capsule_of(c),
			   call_done_text, c));
}

void
m_capsule_wait(struct call *c)
{
	cancel_with(c, capsules_wait(c->svc->capsules, c->uid, c->params,
			   call_done_text, c));
}

void
m_capsule_destroy(struct call *c)
{
	capsules_destroy(
	    c->svc->capsules, c->uid, capsule_of(c), call_done_text, c);
}

void
m_capsule_pause(struct call *c)
{
	capsules_pause(
	    c->svc->capsules, c->uid, capsule_of(c), call_done_text, c);
}

void
m_capsule_resume(struct call *c)
{
	capsules_resume(
	    c->svc->capsules, c->uid, capsule_of(c), call_done_text, c);
}

void
m_capsule_ping(struct call *c)
{
	cancel_with(c, capsules_ping(c->svc->capsules, c->uid, capsule_of(c),
			   call_done_text, c));
}
