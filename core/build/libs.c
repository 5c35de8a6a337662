/* Can the guest start the programs of the command line? SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/build/cmdline.h"
#include "core/build/elf.h"
#include "core/build/hostlibs.h"
#include "core/build/libs.h"

#define MAX_OBJECTS 5000

/* A program or library that is looked at. */
struct object {
  struct object *parent;   /* whose need it is, or NULL */
  struct cs_inode *inode;  /* NULL: of the host only */
  char *guest;             /* its path in the image */
  char *host;              /* where it comes from, or NULL */
  struct cs_elf elf;
};

struct libs {
  struct cs_tree *t;
  gboolean osv, add;
  gboolean some_here;          /* of what is missing */
  char *cwd, *path, *lib_path; /* of the command line, or NULL */
  char *home;                  /* the directory of the host's libc */
  struct cs_hostlibs *hostlibs;
  GPtrArray *objects;          /* of struct object *, a queue */
  GHashTable *names;           /* names of libraries that are dealt with */
  GPtrArray *added;            /* or NULL */
  GString *missing;            /* lines */
};

static void
object_free (gpointer p)
{
  struct object *o = p;
  cs_elf_clear (&o->elf);
  g_free (o->guest);
  g_free (o->host);
  g_free (o);
}

static void
object_add (struct libs *l, struct object *parent, struct cs_inode *inode, const char *guest,
            const char *host)
{
  struct object *o = g_new0 (struct object, 1);
  o->parent = parent;
  o->inode = inode;
  o->guest = g_strdup (guest);
  o->host = host ? g_strdup (host)
            : inode && inode->source == CS_SRC_HOST ? cs_source_name (inode) : NULL;
  g_ptr_array_add (l->objects, o);
}

static int
read_object (struct object *o)
{
  cs_autofd int fd = -1;
  if (!o->inode)
    fd = open (o->host, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  else if (o->inode->source == CS_SRC_HOST)
    fd = cs_source_open (o->inode, NULL);
  if (fd < 0 && (!o->inode || o->inode->source == CS_SRC_HOST))
    return CS_ELF_OK; /* whoever writes it will say so */
  return cs_elf_read (fd, o->inode, &o->elf);
}

/* Is the program that needs it, at whatever remove, linked with musl? */
static gboolean
is_musl (const struct object *o)
{
  for (; o; o = o->parent)
    if (o->elf.interp)
      return strstr (o->elf.interp, "ld-musl") != NULL;
  return FALSE;
}

/* What kernels of OSv bring themselves. */
static gboolean
is_of_osv (const char *name)
{
  static const char *const own[] = {
    "ld-linux-x86-64.so.2", "libaio.so.1", "libc.so.6", "libcrypt.so.1", "libdl.so.2",
    "libm.so.6", "libpthread.so.0", "libresolv.so.2", "librt.so.1", "libstdc++.so.6",
    "libxenstore.so.3.0", "linux-vdso.so.1", "ld-musl-x86_64.so.1",
    "libc.musl-x86_64.so.1", NULL };
  return g_strv_contains (own, name);
}

/* Each directory of a list in turn, with $ORIGIN for that of the object; *p starts as the
 * list. NULL at its end. */
static char *
next_dir (const char **p, const char *object_path)
{
  while (**p == ':' || **p == ';')
    ++*p;
  gsize n = strcspn (*p, ":;");
  if (n == 0)
    return NULL;
  g_autofree char *dir = g_strndup (*p, n);
  *p += n;
  for (const char *const *name = (const char *const[]){ "${ORIGIN}", "$ORIGIN", NULL }; *name;
       name++) {
    char *at = strstr (dir, *name);
    if (!at)
      continue;
    g_autofree char *origin = object_path ? g_path_get_dirname (object_path) : g_strdup ("");
    *at = 0;
    return g_strconcat (dir, origin, at + strlen (*name), NULL);
  }
  return g_steal_pointer (&dir);
}

/* Lines for the warning: what is missing, for whom, and where it is here. */
static void
note_missing (struct libs *l, const struct object *o, const char *what, const char *host)
{
  g_string_append_printf (l->missing, "\n  %s  for %s, %s%s", what, o->guest,
                          host ? "here: " : "which is not here either", host ? host : "");
  l->some_here |= host != NULL;
}

static struct cs_inode *
guest_file (struct libs *l, const char *dir, const char *name, char **ret_path)
{
  g_autofree char *path = dir ? g_build_filename (dir, name, NULL) : g_strdup (name);
  struct cs_inode *i = cs_tree_follow (l->t, path, NULL);
  if (!i || !S_ISREG (i->type))
    return NULL;
  *ret_path = g_canonicalize_filename (path, "/");
  return i;
}

/* In a list of directories of the image. */
static struct cs_inode *
guest_in_list (struct libs *l, const char *list, const char *object, const char *name,
               char **ret_path)
{
  g_autofree char *dir = NULL;
  while (list && (dir = next_dir (&list, object)) != NULL) {
    struct cs_inode *i = guest_file (l, dir, name, ret_path);
    if (i)
      return i;
    g_clear_pointer (&dir, g_free);
  }
  return NULL;
}

static struct cs_inode *
find_in_guest (struct libs *l, struct object *o, const char *name, char **ret_path)
{
  static const char linux_dirs[] = "/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu:"
                                   "/lib64:/usr/lib64:/lib:/usr/lib";
  static const char osv_dirs[] = "/:/usr/lib", musl_dirs[] = "/lib:/usr/local/lib:/usr/lib";
  struct cs_inode *i;
  if (strchr (name, '/'))
    return guest_file (l, NULL, name, ret_path);
  if (!o->elf.runpath) /* RPATH is also that of who needed the object */
    for (struct object *a = o; a; a = a->parent)
      if ((i = guest_in_list (l, a->elf.rpath, a->guest, name, ret_path)))
        return i;
  if ((i = guest_in_list (l, l->lib_path, NULL, name, ret_path)) ||
      (i = guest_in_list (l, o->elf.runpath, o->guest, name, ret_path)) ||
      (i = guest_in_list (l, l->osv ? osv_dirs : is_musl (o) ? musl_dirs : linux_dirs, NULL,
                          name, ret_path)))
    return i;
  /* Elsewhere, if the image has a cache for its loader. */
  struct cs_inode *cache = cs_tree_follow (l->t, "/etc/ld.so.cache", NULL);
  g_autofree guint8 *buf = cache && S_ISREG (cache->type) && cache->size < (1 << 22)
                               ? g_malloc (cache->size + 1) : NULL;
  if (!buf || l->osv || !cs_source_read (cache, buf, cache->size, NULL))
    return NULL;
  g_autofree char *path = cs_ld_cache_find (buf, cache->size, name);
  return path ? guest_file (l, NULL, path, ret_path) : NULL;
}

/* On the host in a list of directories; *ret_guest is the same place in the image. */
static char *
host_in_list (const char *list, const struct object *o, const char *name, char **ret_guest)
{
  const char *guest_list = list;
  g_autofree char *dir = NULL, *guest = NULL;
  while (list && (dir = next_dir (&list, o->host)) != NULL) {
    guest = next_dir (&guest_list, o->guest);
    g_autofree char *path = g_build_filename (dir, name, NULL);
    if (cs_hostlibs_usable (path)) {
      g_autofree char *place = g_build_filename (guest, name, NULL);
      *ret_guest = g_canonicalize_filename (place, "/");
      return g_steal_pointer (&path);
    }
    g_clear_pointer (&dir, g_free);
    g_clear_pointer (&guest, g_free);
  }
  return NULL;
}

/* Where a library goes that is in a directory of its loader: where it is here, if the
 * loader in the image looks there as well. */
static char *
guest_place (struct libs *l, const struct object *o, const char *host, const char *name)
{
  g_autofree char *dir = g_path_get_dirname (host);
  if (l->osv)
    return g_build_filename ("/usr/lib", name, NULL);
  gboolean debian = strstr (l->home, "x86_64-linux-gnu") != NULL;
  g_autofree char *usr = g_strconcat ("/usr", l->home, NULL);
  if (is_musl (o) || strcmp (dir, l->home) == 0 || strcmp (dir, usr) == 0 ||
      (g_str_has_prefix (l->home, "/usr/") && strcmp (dir, l->home + 4) == 0) ||
      (debian && (strcmp (dir, "/lib") == 0 || strcmp (dir, "/usr/lib") == 0)))
    return g_strdup (host);
  return g_build_filename (l->home, name, NULL);
}

static char *
find_on_host (struct libs *l, struct object *o, const char *name, char **ret_guest)
{
  char *path = NULL;
  if (strchr (name, '/')) {
    *ret_guest = g_strdup (name);
    return cs_hostlibs_usable (name) ? g_strdup (name) : NULL;
  }
  if (!o->elf.runpath)
    for (struct object *a = o; a && !path; a = a->parent)
      path = host_in_list (a->elf.rpath, a, name, ret_guest);
  if (path || (path = host_in_list (o->elf.runpath, o, name, ret_guest)))
    return path;
  if (!l->hostlibs)
    l->hostlibs = cs_hostlibs_new ();
  if (!(path = cs_hostlibs_find (l->hostlibs, name, is_musl (o))))
    return NULL;
  if (!l->home) {
    g_autofree char *libc = cs_hostlibs_find (l->hostlibs, "libc.so.6", FALSE);
    l->home = libc ? g_path_get_dirname (libc) : g_strdup ("/lib");
  }
  *ret_guest = guest_place (l, o, path, name);
  return path;
}

/* A file of the host, through symlinks, at a path of the image. */
static gboolean
add_file (struct libs *l, struct object *o, const char *guest, const char *host, GError **err)
{
  g_autofree char *real = realpath (host, NULL);
  if (!real)
    return cs_fail_errno (err, "%s", host);
  if (!cs_tree_scan (l->t, guest, real, NULL, err)) {
    g_prefix_error (err, "add a library that %s needs: ", o->guest);
    return FALSE;
  }
  if (l->added)
    g_ptr_array_add (l->added, g_strdup (real));
  cs_debug ("added %s for %s", guest, o->guest);
  object_add (l, o, cs_tree_follow (l->t, guest, NULL), guest, host);
  return TRUE;
}

/* A library or loader that o needs. */
static gboolean
need (struct libs *l, struct object *o, const char *name, GError **err)
{
  g_autofree char *guest = NULL, *host = NULL;
  if ((l->osv && is_of_osv (name)) || g_hash_table_contains (l->names, name))
    return TRUE;
  g_hash_table_add (l->names, g_strdup (name));
  struct cs_inode *i = find_in_guest (l, o, name, &guest);
  if (i) {
    object_add (l, o, i, guest, NULL);
    return TRUE;
  }
  host = find_on_host (l, o, name, &guest);
  if (host && l->add)
    return add_file (l, o, guest, host, err);
  note_missing (l, o, name, host);
  if (host)
    object_add (l, o, NULL, guest, host);
  return TRUE;
}

/* "#!/bin/sh -e": what it names has to be there, and is looked at in turn. */
static gboolean
check_script (struct libs *l, struct object *o, GError **err)
{
  char head[256] = "";
  cs_autofd int fd = o->inode->source == CS_SRC_HOST ? cs_source_open (o->inode, NULL) : -1;
  gsize n = MIN (o->inode->size, sizeof head - 1);
  if ((fd < 0 && o->inode->source == CS_SRC_HOST) || !cs_elf_peek (fd, o->inode, head, n, 0))
    return TRUE; /* whoever writes it will say so */
  if (l->osv || !g_str_has_prefix (head, "#!")) {
    cs_warn ("%s is not a program (no ELF file)%s", o->guest,
             l->osv ? ": OSv cannot run it" : ", nor a script that begins with #!");
    return TRUE;
  }
  char *interp = head + 2 + strspn (head + 2, " \t");
  interp[strcspn (interp, " \t\r\n")] = 0;
  return need (l, o, interp, err);
}

static void
check_program (struct libs *l, struct object *o)
{
  const struct cs_elf *e = &o->elf;
  gboolean is_static = !e->is_dynamic || (e->is_pie && !e->interp && e->needed->len == 0);
  if (l->osv && is_static)
    cs_warn ("%s is linked statically, which OSv up to v0.57 cannot run: link it dynamically "
             "(cc -pie, without -static)", o->guest);
  if (!l->osv && e->type == CS_ELF_DYN && !e->interp && !e->is_pie)
    cs_warn ("%s is a shared library without a loader: Linux cannot start it", o->guest);
}

static gboolean
check_object (struct libs *l, struct object *o, GError **err)
{
  gboolean is_program = !o->parent;
  int kind = read_object (o);
  if (kind == CS_ELF_NONE)
    return !is_program || check_script (l, o, err);
  if (kind == CS_ELF_DAMAGED)
    cs_warn ("%s: its ELF headers are damaged", o->guest);
  if (kind != CS_ELF_OK || !o->elf.needed)
    return TRUE;
  if (!o->elf.is64 || o->elf.machine != CS_ELF_X86_64) {
    cs_warn ("%s is for another machine; guests are x86_64", o->guest);
    return TRUE;
  }
  if (is_program)
    check_program (l, o);
  if (o->elf.soname)
    g_hash_table_add (l->names, g_strdup (o->elf.soname));
  if (o->elf.interp && !l->osv && !need (l, o, o->elf.interp, err))
    return FALSE;
  for (guint k = 0; k < o->elf.needed->len; k++)
    if (!need (l, o, g_ptr_array_index (o->elf.needed, k), err))
      return FALSE;
  return TRUE;
}

/* A program of the command line, as the guest looks for it. */
static void
add_program (struct libs *l, const char *name)
{
  struct cs_inode *i = NULL;
  g_autofree char *path = NULL, *real = NULL;
  if (l->osv && strcmp (name, "runscript") == 0)
    return;
  if (!strchr (name, '/') && !l->osv)
    i = guest_in_list (l, l->path ? l->path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:"
                                              "/usr/bin:/sbin:/bin", NULL, name, &path);
  if (!i)
    i = guest_file (l, *name == '/' ? NULL : l->cwd ? l->cwd : "/", name, &path);
  if (!i && !strchr (name, '/'))
    i = guest_in_list (l, "/:/usr/lib", NULL, name, &path);
  if (!i) {
    g_autofree char *q = cs_quote (name);
    cs_warn ("the command line starts %s, which is not a file of the image", q);
    return;
  }
  i = cs_tree_follow (l->t, path, &real); /* $ORIGIN is where it really is */
  if (!l->osv && !(i->perm & 0111))
    cs_warn ("%s has no permission to be executed: chmod +x, or 'mode: 0755'", real);
  object_add (l, NULL, i, real, NULL);
}

static void
warn_missing (struct libs *l)
{
  if (l->missing->len > 0)
    cs_warn ("shared libraries are not in the image:%s%s", l->missing->str,
             l->add || !l->some_here ? "" : "\n--with-libs puts those that are here into the image");
}

gboolean
cs_libs_check (struct cs_tree *t, const char *guest, const char *cmdline, gboolean add,
               GPtrArray *added, GError **err)
{
  struct libs l = { .t = t, .osv = strcmp (guest, "osv") == 0, .add = add, .added = added };
  g_autoptr (GPtrArray) programs = cs_cmdline_programs (cmdline);
  gboolean ok = TRUE;
  l.cwd = cs_cmdline_option (cmdline, "cwd");
  l.path = cs_cmdline_option (cmdline, "env=PATH");
  l.lib_path = cs_cmdline_option (cmdline, "env=LD_LIBRARY_PATH");
  l.objects = g_ptr_array_new_with_free_func (object_free);
  l.names = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  l.missing = g_string_new (NULL);
  for (guint k = 0; k < programs->len; k++)
    add_program (&l, g_ptr_array_index (programs, k));
  for (guint k = 0; ok && k < l.objects->len && k < MAX_OBJECTS; k++)
    ok = check_object (&l, g_ptr_array_index (l.objects, k), err);
  if (ok)
    warn_missing (&l);
  cs_hostlibs_free (l.hostlibs);
  g_ptr_array_unref (l.objects);
  g_hash_table_unref (l.names);
  g_string_free (l.missing, TRUE);
  g_free (l.home);
  g_free (l.cwd);
  g_free (l.path);
  g_free (l.lib_path);
  return ok;
}
