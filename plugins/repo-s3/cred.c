/* Where region, endpoint and credentials come from: the places that every S3 program reads.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "s3.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *
trim (char *s)
{
  while (isspace ((unsigned char) *s))
    s++;
  for (char *end = s + strlen (s); end > s && isspace ((unsigned char) end[-1]);)
    *--end = '\0';
  return s;
}

char *
s3_ini (const char *path, const char *section, const char *key)
{
  char line[4096], *found = NULL;
  int in = 0;
  FILE *f = fopen (path, "re");
  while (f != NULL && found == NULL && fgets (line, sizeof line, f) != NULL) {
    char *s = trim (line), *eq = strchr (s, '=');
    size_t n = strlen (s);
    if (*s == '#' || *s == ';')
      continue;
    if (*s == '[' && s[n - 1] == ']') {
      s[n - 1] = '\0';
      in = strcmp (trim (s + 1), section) == 0;
    } else if (in && eq != NULL) {
      *eq = '\0';
      if (strcmp (trim (s), key) == 0)
        found = strdup (trim (eq + 1));
    }
  }
  if (f != NULL)
    fclose (f);
  return found;
}

static const char *
env (const char *name)
{
  const char *v = getenv (name);
  return v != NULL && *v != '\0' ? v : NULL;
}

/* The user's AWS files: names from the environment, else below ~/.aws. */
struct files { char credentials[4096], config[4096], section[300]; const char *profile; };

static void
find_files (struct capstan_call *call, struct files *f)
{
  const char *home = env ("HOME"), *c = env ("AWS_SHARED_CREDENTIALS_FILE"), *g = env ("AWS_CONFIG_FILE");
  f->profile = capstan_host_->option (call, "profile");
  if (f->profile == NULL || *f->profile == '\0')
    f->profile = env ("AWS_PROFILE");
  if (f->profile == NULL)
    f->profile = "default";
  snprintf (f->credentials, sizeof f->credentials, "%s%s", c != NULL ? c : home != NULL ? home : "",
            c != NULL ? "" : "/.aws/credentials");
  snprintf (f->config, sizeof f->config, "%s%s", g != NULL ? g : home != NULL ? home : "",
            g != NULL ? "" : "/.aws/config");
  snprintf (f->section, sizeof f->section, "%s%s", strcmp (f->profile, "default") == 0 ? "" : "profile ",
            f->profile);
}

static char *
from_files (const struct files *f, const char *key)
{
  char *v = s3_ini (f->credentials, f->profile, key);
  return v != NULL ? v : s3_ini (f->config, f->section, key);
}

static char *
dup_or_null (const char *s)
{
  return s != NULL && *s != '\0' ? strdup (s) : NULL;
}

static void
credentials (struct capstan_call *call, struct s3 *s, const struct files *f)
{
  if (env ("AWS_ACCESS_KEY_ID") != NULL && env ("AWS_SECRET_ACCESS_KEY") != NULL) {
    s->key_id = strdup (env ("AWS_ACCESS_KEY_ID"));
    s->secret = strdup (env ("AWS_SECRET_ACCESS_KEY"));
    s->token = dup_or_null (env ("AWS_SESSION_TOKEN"));
    return;
  }
  s->key_id = from_files (f, "aws_access_key_id");
  s->secret = s->key_id != NULL ? from_files (f, "aws_secret_access_key") : NULL;
  s->token = s->secret != NULL ? from_files (f, "aws_session_token") : NULL;
  if (s->secret != NULL)
    return;
  free (s->key_id);
  s->key_id = dup_or_null (capstan_host_->secret (call, s->realm, "access_key_id"));
  if (s->key_id == NULL)
    return;
  s->secret = dup_or_null (capstan_host_->secret (call, s->realm, "secret_access_key"));
  s->token = dup_or_null (capstan_host_->secret (call, s->realm, "session_token"));
  s->from_host = 1;
}

/* An option that was given, else the environment, else the files. For free (). */
static char *
setting (struct capstan_call *call, const struct files *f, const char *option, const char *env1,
         const char *env2, const char *key)
{
  const char *v = capstan_host_->option (call, option);
  if (v == NULL || *v == '\0')
    v = env (env1);
  if (v == NULL)
    v = env (env2);
  return v != NULL ? strdup (v) : from_files (f, key);
}

int
s3_settings (struct capstan_call *call, struct s3 *s, const char **ret_endpoint)
{
  struct files f;
  char text[600];
  const char *anonymous = capstan_host_->option (call, "anonymous");
  find_files (call, &f);
  s->region = setting (call, &f, "region", "AWS_REGION", "AWS_DEFAULT_REGION", "region");
  if (s->region == NULL)
    s->region = strdup ("us-east-1");
  char *endpoint = setting (call, &f, "endpoint", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "endpoint_url");
  *ret_endpoint = endpoint != NULL ? capstan_host_->keep (call, endpoint, SIZE_MAX) : NULL;
  free (endpoint);
  if (anonymous == NULL || strcmp (anonymous, "true") != 0)
    credentials (call, s, &f);
  if (s->key_id != NULL && s->secret == NULL)
    return capstan_error (call, CAPSTAN_E_AUTH, 0, "%s: there is an access key without its secret key",
                          s->realm);
  if (s->region != NULL)
    for (const char *p = s->region; *p != '\0'; p++)
      if (!isalnum ((unsigned char) *p) && strchr ("-_.", *p) == NULL)
        return capstan_error (call, CAPSTAN_E_INVAL, 0, "'%s' is no name of a region", s->region);
  snprintf (text, sizeof text, "aws:amz:%.100s:s3", s->region != NULL ? s->region : "");
  s->sigv4 = strdup (text);
  if (s->region == NULL || s->sigv4 == NULL)
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "no memory");
  return 0;
}
