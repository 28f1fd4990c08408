// Acts on the world within its grants. Name what it needs under `uses` in plugin.toml, such as `http`.
#include "heddle.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char output[4096];

heddle_result call(heddle_text input) {
  char *name = heddle_member(input, "name");
  if (!name || !*name) return heddle_permanent("no_name", "the name is empty; say who is to be greeted");
  heddle_log(HEDDLE_INFO, name);
  char greeting[1024];
  snprintf(greeting, sizeof greeting, "Hello, %s!", name);
  char *quoted = heddle_quoted(greeting);
  snprintf(output, sizeof output, "{\"greeting\":%s,\"letters\":%zu}", quoted, strlen(name));
  free(quoted);
  free(name);
  return heddle_done(output);
}
