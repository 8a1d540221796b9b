#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include <json-c/json.h>

#include "daemon/daemon.h"
#include "daemon/log.h"
#include "proto/buf.h"
#include "proto/jx.h"
#include "proto/limits.h"
#include "proto/methods.h"

#include "proto/banned.h"

enum option_code {
	OPT_CONFIG = 'c',
	OPT_HELP = 'h',
	OPT_VERSION = 'V',
	OPT_SOCKET = 256,
	OPT_STATE_DIR,
	OPT_LOG_LEVEL,
	OPT_SYSTEM,
	OPT_ON_DEMAND,
	OPT_NEW_STORE,
	OPT_CHECK_CONFIG,
	OPT_DUMP_CONFIG,
	OPT_DUMP_METHODS,
};

static const struct option options[] = {
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "state-dir", required_argument, NULL, OPT_STATE_DIR },
	{ "log-level", required_argument, NULL, OPT_LOG_LEVEL },
	{ "system", no_argument, NULL, OPT_SYSTEM },
	{ "on-demand", no_argument, NULL, OPT_ON_DEMAND },
	{ "new-store", no_argument, NULL, OPT_NEW_STORE },
	{ "check-config", no_argument, NULL, OPT_CHECK_CONFIG },
	{ "dump-config", no_argument, NULL, OPT_DUMP_CONFIG },
	{ "dump-methods", no_argument, NULL, OPT_DUMP_METHODS },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

static const char usage[] =
    "usage: wrennd [OPTION...]\n"
    "\n"
    "Gives every program of this machine shared use of Wrenn capsules, over a\n"
    "Unix socket. Runs in the foreground and logs to stderr.\n"
    "\n"
    "  -c, --config FILE    configuration (default: wrennd.conf(5) says)\n"
    "      --socket PATH    listen there\n"
    "      --state-dir DIR  keep the record of capsules there\n"
    "      --log-level L    error, warn, info or debug\n"
    "      --system         the machine's paths instead of the user's\n"
    "      --on-demand      leave when idle, with nothing to guard\n"
    "      --new-store      begin a new record where the old one is empty\n"
    "      --check-config   say whether the configuration is right, and leave\n"
    "      --dump-config    print the names of all configuration keys\n"
    "      --dump-methods   print all methods as an OpenRPC document\n"
    "  -h, --help           print this\n"
    "  -V, --version        print the version\n";

static int
close_stdout(void)
{
	if (fflush(stdout) == 0)
		return EXIT_SUCCESS;
	perror("wrennd: stdout");
	return EXIT_FAILURE;
}

static int
check_config(const struct settings_args *args)
{
	struct settings *s = settings_load(args);

	if (s == NULL)
		return EXIT_FAILURE;
	printf("%s: right\n", s->file ? s->file : "no configuration file");
	settings_free(s);
	return close_stdout();
}

static int
dump_methods(void)
{
	struct json_object *o = methods_openrpc(PACKAGE_VERSION);
	struct buf b;

	buf_init(&b, LIMIT_ANSWER_LINE);
	if (jx_print(&b, o) < 0 || buf_str(&b) == NULL)
		abort();
	puts(buf_head(&b));
	buf_release(&b);
	json_object_put(o);
	return close_stdout();
}

/* A switch that prints something and ends; -1 for none. */
static int
run_switch(int code, const struct settings_args *args)
{
	switch (code) {
	case OPT_CHECK_CONFIG:
		return check_config(args);
	case OPT_DUMP_CONFIG:
		settings_print_keys(stdout);
		return close_stdout();
	case OPT_DUMP_METHODS:
		return dump_methods();
	case OPT_HELP:
		fputs(usage, stdout);
		return close_stdout();
	case OPT_VERSION:
		puts("wrennd " PACKAGE_VERSION);
		return close_stdout();
	default:
		return -1;
	}
}

/* Takes one option that sets something; false when it is another. */
static bool
take_option(struct daemon_options *o, int code)
{
	switch (code) {
	case OPT_CONFIG:
		o->args.file = optarg;
		return true;
	case OPT_SOCKET:
		o->args.socket = optarg;
		return true;
	case OPT_STATE_DIR:
		o->args.state_dir = optarg;
		return true;
	case OPT_LOG_LEVEL:
		o->args.log_level = optarg;
		return true;
	case OPT_SYSTEM:
		o->args.system_wide = true;
		return true;
	case OPT_ON_DEMAND:
		o->on_demand = true;
		return true;
	case OPT_NEW_STORE:
		o->new_store = true;
		return true;
	default:
		return false;
	}
}

int
main(int argc, char **argv)
{
	struct daemon_options o = { 0 };
	int code, last = 0, r;

	while ((code = getopt_long(argc, argv, "c:hV", options, NULL)) != -1) {
		if (code == '?')
			return 2;
		if (!take_option(&o, code))
			last = code;
	}
	if (optind < argc) {
		fprintf(stderr,
		    "wrennd: %s: it takes no arguments; see wrennd --help\n",
		    argv[optind]);
		return 2;
	}
	/* The arguments are known now, whatever their order was. */
	r = run_switch(last, &o.args);
	if (r >= 0)
		return r;
	log_take_over();
	return daemon_run(&o);
}
