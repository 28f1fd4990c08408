// Decides as it goes: it may call the plugins that its step grants under `tools` (`heddle_host_tools_call` in plugin.h).
#include "heddle.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char output[4096];

heddle_result run(heddle_text input, heddle_text state) {
  char *name = heddle_member(input, "name");
  if (!name || !*name) return heddle_permanent("no_name", "the name is empty; say who is to be greeted");
  (void)state;
  char greeting[1024];
  snprintf(greeting, sizeof greeting, "Hello, %s!", name);
  char *quoted = heddle_quoted(greeting);
  snprintf(output, sizeof output, "{\"greeting\":%s,\"letters\":%zu}", quoted, strlen(name));
  free(quoted);
  free(name);
  return heddle_done(output);
}
