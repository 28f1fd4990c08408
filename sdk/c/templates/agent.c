// Decides as it goes: it may call the plugins that its step grants under `tools` (`heddle_host_tools_call` in plugin.h).
#include "heddle.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// A text without white space at both ends, within itself.
static char *trimmed(char *text) {
  size_t end = strlen(text);
  while (end > 0 && isspace((unsigned char)text[end - 1])) end--;
  text[end] = 0;
  while (isspace((unsigned char)*text)) text++;
  return text;
}

// Characters of UTF-8, each of which has one byte that begins it.
static size_t letters(const char *text) {
  size_t count = 0;
  for (; *text; text++) count += ((unsigned char)*text & 0xC0) != 0x80;
  return count;
}

heddle_result run(heddle_text input, heddle_text state) {
  char *given = heddle_member(input, "name");
  char *name = given ? trimmed(given) : NULL;
  if (!name || !*name) return heddle_permanent("no_name", "the name is empty; say who is to be greeted");
  (void)state;
  size_t room = strlen(name) + sizeof "Hello, !";
  char *greeting = malloc(room);
  if (!greeting) abort();
  snprintf(greeting, room, "Hello, %s!", name);
  char *quoted = heddle_quoted(greeting);
  room = strlen(quoted) + 64;
  char *output = malloc(room); // Each call has a sandbox of its own, whose memory goes with it.
  if (!output) abort();
  snprintf(output, room, "{\"greeting\":%s,\"letters\":%zu}", quoted, letters(name));
  free(quoted);
  free(greeting);
  free(given);
  return heddle_done(output);
}
