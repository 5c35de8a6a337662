/* What VBoxManage prints. SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vbox.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Unquotes in place from *p, behind the first quote; leaves *p behind the last. */
static char *
quoted (char **p)
{
  char *start = *p, *to = *p, *from = *p;
  for (; *from != '\0' && *from != '"'; from++) {
    if (*from == '\\' && (from[1] == '"' || from[1] == '\\'))
      from++;
    *to++ = *from;
  }
  *p = *from == '"' ? from + 1 : from;
  *to = '\0';
  return start;
}

char *
vb_next_pair (char **text, char **ret_value)
{
  while (**text != '\0') {
    char *p = *text, *key = p;
    if (*p == '"') {
      p++;
      key = quoted (&p);
    } else
      p += strcspn (p, "=\n");
    if (*p != '=') {
      p += strcspn (p, "\n");
      *text = p + (*p != '\0');
      continue;
    }
    *p++ = '\0';
    if (*p == '"') {
      p++;
      *ret_value = quoted (&p);
    } else
      *ret_value = p;
    p += strcspn (p, "\n");
    *text = p + (*p != '\0');
    *p = '\0';
    return key;
  }
  return NULL;
}

static void
copy (char *to, size_t n, const char *from)
{
  size_t len = strlen (from);
  len = len < n ? len : n - 1;
  memcpy (to, from, len);
  to[len] = '\0';
}
#define COPY(to, from) copy ((to), sizeof (to), (from))

/* "2026-11-24T13:41:10.959000000", UTC */
static int64_t
parse_time (const char *s)
{
  struct tm t = { 0 };
  return strptime (s, "%Y-%m-%dT%H:%M:%S", &t) != NULL ? (int64_t) timegm (&t) : INT64_MIN;
}

/* "name,tcp,127.0.0.1,18080,,80" */
static void
add_forward (struct vb_info *i, int nic, char *rule)
{
  char *part[6];
  for (int k = 0; k < 6; k++)
    if ((part[k] = strsep (&rule, ",")) == NULL)
      return;
  if (i->n_forwards == FORWARDS_MAX)
    return;
  int n = i->n_forwards++;
  snprintf (i->forwards[n], sizeof i->forwards[n], "%.8s:%.20s:%.8s:%.8s", part[1],
            *part[2] != '\0' ? part[2] : "0.0.0.0", part[3], part[5]);
  i->forward_nic[n] = nic;
}

/* "nic2" -> 1; -1 if the key is another. */
static int
nic_of (const char *key, const char *stem)
{
  size_t n = strlen (stem);
  if (strncmp (key, stem, n) != 0 || key[n] < '1' || key[n] > '0' + NICS_MAX || key[n + 1] != '\0')
    return -1;
  return key[n] - '1';
}

static void
parse_nic (struct vb_info *i, const char *key, const char *value, int *current)
{
  int n;
  if ((n = nic_of (key, "nic")) >= 0) {
    *current = n; /* the forwards that follow are this one's */
    COPY (i->nics[n].mode, strcmp (value, "none") != 0 ? value : "");
  } else if ((n = nic_of (key, "nictype")) >= 0)
    COPY (i->nics[n].model, value);
  else if ((n = nic_of (key, "bridgeadapter")) >= 0 || (n = nic_of (key, "hostonlyadapter")) >= 0)
    COPY (i->nics[n].device, value);
  else if ((n = nic_of (key, "macaddress")) >= 0 && strlen (value) == 12)
    snprintf (i->nics[n].mac, sizeof i->nics[n].mac, "%.2s:%.2s:%.2s:%.2s:%.2s:%.2s", value,
              value + 2, value + 4, value + 6, value + 8, value + 10);
}

/* "disk-0-0" of our one controller */
static int
is_disk (const char *key, const char *value)
{
  return strncmp (key, "disk-", 5) == 0 && isdigit ((unsigned char) key[5]) && *value == '/';
}

void
vb_parse_info (char *text, struct vb_info *i)
{
  char *value, *key;
  int nic = 0;
  memset (i, 0, sizeof *i);
  i->changed = INT64_MIN;
  while ((key = vb_next_pair (&text, &value)) != NULL) {
    if (strcmp (key, "VMState") == 0)
      COPY (i->state, value);
    else if (strcmp (key, "VMStateChangeTime") == 0)
      i->changed = parse_time (value);
    else if (strcmp (key, "name") == 0)
      COPY (i->name, value);
    else if (strcmp (key, "LogFldr") == 0)
      COPY (i->log_dir, value);
    else if (strncmp (key, "Forwarding(", 11) == 0)
      add_forward (i, nic, value);
    else if (is_disk (key, value) && i->n_disks < DISKS_MAX)
      COPY (i->disks[i->n_disks++], value);
    else
      parse_nic (i, key, value, &nic);
  }
}

uint32_t
vb_error_code (const char *err)
{
  /* "Details: code VBOX_E_X (0x80bb0001), component ..." or "Code NS_ERROR_X (0x...)" */
  for (const char *p = err; (p = strcasestr (p, "code ")) != NULL; p += 5) {
    const char *q = p + 5 + strspn (p + 5, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
    if (q > p + 5 && strncmp (q, " (0x", 4) == 0)
      return (uint32_t) strtoul (q + 2, NULL, 16);
  }
  return 0;
}

void
vb_error_text (const char *err, char *buf, size_t n)
{
  static const char mark[] = "error: ";
  const char *p = strstr (err, mark);
  for (p = p != NULL ? p + strlen (mark) : err; strncmp (p, "VBoxManage: error: ", 19) == 0;)
    p += 19;
  p += strspn (p, " \n");
  size_t len = strcspn (p, "\n");
  snprintf (buf, n, "%.*s", (int) (len < n ? len : n - 1), p);
}

int
vb_service_missing (const char *err)
{
  return vb_error_code (err) == VB_NOT_REGISTERED || strstr (err, "Failed to create the VirtualBox object") != NULL;
}

int
vb_parse_version (const char *out, int *major, int *minor)
{
  for (const char *p = out; p != NULL && *p != '\0'; p = strchr (p, '\n'), p = p != NULL ? p + 1 : NULL)
    if (isdigit ((unsigned char) *p) && sscanf (p, "%d.%d.", major, minor) == 2)
      return 0;
  return -1;
}

char *
vb_next_machine (char **text, const char *prefix)
{
  while (**text != '\0') {
    char *line = *text, *end = line + strcspn (line, "\n");
    *text = end + (*end != '\0');
    *end = '\0';
    /* the name is not escaped: only the last word can be relied on */
    if (end - line < 39 || end[-1] != '}' || end[-38] != '{' || *line != '"' ||
        strncmp (line + 1, prefix, strlen (prefix)) != 0)
      continue;
    end[-1] = '\0';
    return end - 37;
  }
  return NULL;
}

int
vb_mac (const char *text, char ret[13])
{
  int n = 0;
  for (const char *p = text; *p != '\0'; p++) {
    if ((p - text) % 3 == 2 ? *p != ':' : !isxdigit ((unsigned char) *p))
      return -1;
    if (*p != ':' && n < 12)
      ret[n++] = (char) toupper ((unsigned char) *p);
  }
  ret[n] = '\0';
  /* VirtualBox refuses addresses of groups */
  return strlen (text) == 17 && strchr ("02468ACE", ret[1]) != NULL && strcmp (ret, "000000000000") != 0 ? 0 : -1;
}
