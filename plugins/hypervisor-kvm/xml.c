/* Reading libvirt's XML. SPDX-License-Identifier: BSD-3-Clause */
#include "kvm.h"
#include <stdlib.h>
#include <string.h>

void
xml_read (struct xml *x, char *text)
{
  x->doc = text != NULL ? xmlReadMemory (text, (int) strlen (text), "libvirt", NULL,
      XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING) : NULL;
  x->context = x->doc != NULL ? xmlXPathNewContext (x->doc) : NULL;
  free (text);
}

void
xml_clear (struct xml *x)
{
  if (x->context != NULL)
    xmlXPathFreeContext (x->context);
  if (x->doc != NULL)
    xmlFreeDoc (x->doc);
}

/* NULL where there is nothing to look in. */
static xmlXPathObjectPtr
look (const struct xml *x, const char *path)
{
  return x->context != NULL ? xmlXPathEvalExpression ((const xmlChar *) path, x->context) : NULL;
}

char *
xml_text (const struct xml *x, const char *path)
{
  xmlXPathObjectPtr o = look (x, path);
  const char *found = o != NULL && o->nodesetval != NULL && o->nodesetval->nodeNr > 0
                      ? (const char *) xmlXPathCastNodeToString (o->nodesetval->nodeTab[0]) : NULL;
  char *r = found != NULL && *found != '\0' ? strdup (found) : NULL;
  xmlFree ((void *) (uintptr_t) found);
  if (o != NULL)
    xmlXPathFreeObject (o);
  return r;
}

size_t
xml_texts (const struct xml *x, const char *path, char ***ret)
{
  xmlXPathObjectPtr o = look (x, path);
  size_t all = o != NULL && o->nodesetval != NULL ? (size_t) o->nodesetval->nodeNr : 0, n = 0;
  char **list = calloc (all + 1, sizeof *list);
  for (size_t i = 0; list != NULL && i < all; i++) {
    xmlChar *s = xmlXPathCastNodeToString (o->nodesetval->nodeTab[i]);
    if (s != NULL && (list[n] = strdup ((const char *) s)) != NULL)
      n++;
    xmlFree (s);
  }
  if (o != NULL)
    xmlXPathFreeObject (o);
  *ret = list;
  return n;
}

void
texts_free (char **list)
{
  for (char **p = list; p != NULL && *p != NULL; p++)
    free (*p);
  free (list);
}
