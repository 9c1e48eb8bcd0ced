/*
 * fuzz_conf.c - the configuration from memory: reader, table, values, cross checks, freeing.
 *
 * A result and errors exclude each other; whatever was read must be released without a leak.
 */
#include "conf/conf.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	FILE *file = size ? fmemopen((void *)data, size, "r") : NULL;
	const struct conf_domain *section;
	struct conf_report report;
	struct conf *conf = conf_load_file(file, "fuzz", NULL, 0, &report);

	assert((conf == NULL) == (report.error_count > 0));
	if (conf)
		conf_policy_for(conf, "mail.example.org", 0, &section);
	conf_report_free(&report);
	conf_free(&conf);
	if (file)
		fclose(file);
	return 0;
}
