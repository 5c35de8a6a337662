/* capstan plugin new: a plugin to begin with. SPDX-License-Identifier: BSD-3-Clause
 *
 * What is written is a plugin of this tree under another name, and a file to build it with;
 * they lie in pkgdatadir/plugin-template. CAPSTAN_TEMPLATES, folders parted by ':', is for the
 * uninstalled tree. */
#include "config.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include "core/cli/cmd.h"
#include "core/plugin/loader.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { TEMPLATE_MAX = 1 << 20, NAME_MAX_LEN = 64 };

struct kind {
  const char *name, *full, *page, *summary;
  const char *source, *was; /* the plugin it is made of: its file and its name there */
  const char *prefix, *function; /* of the file, of what the functions of that are called */
  const char *more;         /* lines of the .plugin file */
  const char *test;         /* for a shell */
};
static const struct kind kinds[] = {
  { "hypervisor", "hypervisor", "capstan-hypervisor-plugin", "runs nothing yet", "null.c", "null",
    "hypervisor-", "hv_", "suffix: qemu", "capstan plugin test @SO@ --machine-option hold=true" },
  { "repo", "repository", "capstan-repo-plugin", "a folder of images", "repo-folder.c", "folder",
    "repo-", "repo_", "schemes: @NAME@",
    "mkdir -p images\ncapstan plugin test @SO@ --on \"@NAME@:$PWD/images\"" } };

struct build {
  const char *name, *files[3], *commands, *install, *folder; /* folder: where the .so is then */
};
static const struct build builds[] = {
  { "make", { "Makefile" }, "make", "make install", "./" },
  { "autotools", { "configure.ac", "Makefile.am" }, "autoreconf -i && ./configure && make", "make install",
    "./.libs/" },
  { "meson", { "meson.build" }, "meson setup build && meson compile -C build", "meson install -C build",
    "./build/" } };

struct scaffold {
  const struct kind *kind;
  const struct build *build;
  const char *name, *dir;
  GHashTable *words; /* "SO" -> what stands for @SO@ */
  char *function;    /* "hv_mine_" */
  GPtrArray *made;   /* of char *: files that were written */
};

/* ---- texts ---- */

static char *
identifier (const char *text)
{
  return g_strcanon (g_strdup (text), G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS, '_');
}

/* Text with each @WORD@ that is known replaced; the values may have such words too. */
static char *
expand (const struct scaffold *s, const char *text)
{
  char *out = g_strdup (text);
  GHashTableIter i;
  gpointer word, value;
  for (int pass = 0; pass < 2; pass++) {
    g_hash_table_iter_init (&i, s->words);
    while (g_hash_table_iter_next (&i, &word, &value)) {
      g_autofree char *mark = g_strdup_printf ("@%s@", (char *) word);
      g_auto (GStrv) between = g_strsplit (out, mark, -1);
      g_free (out);
      out = g_strjoinv (value, between);
    }
  }
  return out;
}

/* The example's own name becomes the new one: as a text ("null"), at the front of a URL
 * (folder:/srv), and in front of functions (null_open). */
static char *
rename_in (const struct scaffold *s, const char *text)
{
  GString *out = g_string_new (NULL);
  const char *was = s->kind->was;
  gsize n = strlen (was);
  for (const char *p = text; *p != '\0';) {
    gboolean begins = strncmp (p, was, n) == 0 && (p == text || (!g_ascii_isalnum (p[-1]) && p[-1] != '_'));
    const char *by = !begins                                                     ? NULL
                     : p[n] == '_'                                               ? s->function
                     : p[n] == '"' || (p[n] == ':' && p[n + 1] == '/')           ? s->name
                                                                                 : NULL;
    if (by != NULL) {
      g_string_append (out, by);
      p += n + (p[n] == '_');
    } else
      g_string_append_c (out, *p++);
  }
  return g_string_free (out, FALSE);
}

static char *
read_template (const char *file, GError **err)
{
  const char *env = g_getenv ("CAPSTAN_TEMPLATES");
  g_auto (GStrv) dirs = g_strsplit (env != NULL ? env : PKGDATADIR "/plugin-template", ":", 0);
  for (char **d = dirs; *d != NULL; d++) {
    g_autofree char *path = g_build_filename (*d, file, NULL);
    struct stat st;
    if (stat (path, &st) == 0)
      return cs_read_file (path, TEMPLATE_MAX, NULL, err);
  }
  return cs_fail_null (err, CAPSTAN_E_NOTFOUND, "%s is not in %s; the package capstan-dev has it", file,
                       env != NULL ? env : PKGDATADIR "/plugin-template");
}

/* ---- files ---- */

static gboolean
write_one (struct scaffold *s, const char *template, const char *file, GError **err)
{
  g_autofree char *text = read_template (template, err);
  if (text == NULL)
    return FALSE;
  gboolean source = strcmp (template, s->kind->source) == 0;
  g_autofree char *done = source ? rename_in (s, text) : expand (s, text);
  g_autofree char *path = g_build_filename (s->dir, file, NULL);
  if (!cs_write_file (path, done, strlen (done), 0666, err))
    return FALSE;
  g_ptr_array_add (s->made, g_steal_pointer (&path));
  return TRUE;
}

static gboolean
write_all (struct scaffold *s, GError **err)
{
  const char *stem = g_hash_table_lookup (s->words, "FILE");
  g_autofree char *source = g_strconcat (stem, ".c", NULL), *plugin = g_strconcat (stem, ".plugin", NULL);
  gboolean ok = write_one (s, s->kind->source, source, err) && write_one (s, "name.plugin", plugin, err) &&
                write_one (s, "README.md", "README.md", err);
  for (guint i = 0; ok && s->build->files[i] != NULL; i++)
    ok = write_one (s, s->build->files[i], s->build->files[i], err);
  return ok;
}

/* Makes the folder; *ret_made says whether it was not there. */
static gboolean
prepare (const char *dir, gboolean *ret_made, GError **err)
{
  struct stat st;
  *ret_made = lstat (dir, &st) != 0;
  if (*ret_made)
    return cs_mkdirs (dir, 0777, err);
  g_autoptr (GError) e = NULL;
  g_autoptr (GDir) d = g_dir_open (dir, 0, &e);
  if (d == NULL)
    return cs_fail (err, CAPSTAN_E_EXISTS, "%s is no folder that can be written to: %s", dir, e->message);
  const char *first = g_dir_read_name (d);
  return first == NULL || cs_fail (err, CAPSTAN_E_EXISTS, "%s is not empty, it has %s; name a new folder",
                                   dir, first);
}

static void
undo (const struct scaffold *s, gboolean made)
{
  for (guint i = 0; i < s->made->len; i++)
    unlink (s->made->pdata[i]);
  if (made)
    rmdir (s->dir);
}

/* ---- the command ---- */

/* Part of file names, of a URL's scheme and of the functions' names. */
static gboolean
check_name (const struct kind *kind, const char *name, GError **err)
{
  if (strlen (name) > NAME_MAX_LEN || !g_ascii_islower (*name) ||
      strspn (name, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen (name))
    return cs_fail (err, CS_E_USAGE, "'%s' is no name for a plugin: it begins with a letter and has a-z, "
                    "0-9 and '-', %d at most", name, NAME_MAX_LEN);
  const struct cs_plugin *p = cs_plugin_find (kind->full, name);
  return p == NULL || cs_fail (err, CAPSTAN_E_EXISTS, "there is a %s plugin '%s' already, %s; choose another "
                               "name", kind->full, name, p->file);
}

static const struct kind *
kind_of (const char *word, GError **err)
{
  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++)
    if (strcmp (word, kinds[i].name) == 0 || strcmp (word, kinds[i].full) == 0)
      return &kinds[i];
  return cs_fail_null (err, CS_E_USAGE, "'%s' is no kind of plugin: hypervisor or repo", word);
}

static const struct build *
build_of (const char *word)
{
  guint i = 0;
  while (strcmp (builds[i].name, word) != 0) /* the option takes no other */
    i++;
  return &builds[i];
}

static GHashTable *
words_of (const struct kind *k, const struct build *b, const char *name)
{
  GHashTable *t = g_hash_table_new_full (g_str_hash, g_str_equal, NULL, g_free);
  char *file = g_strconcat (k->prefix, name, NULL);
  const struct { const char *word; const char *value; } plain[] = {
    { "NAME", name }, { "FULLKIND", k->full }, { "PAGE", k->page }, { "MORE", k->more },
    { "SUMMARY", k->summary }, { "BUILD", b->commands }, { "INSTALL", b->install }, { "TEST", k->test } };
  for (guint i = 0; i < G_N_ELEMENTS (plain); i++)
    g_hash_table_insert (t, (char *) plain[i].word, g_strdup (plain[i].value));
  g_hash_table_insert (t, (char *) "SO", g_strdup_printf ("%s%s.so", b->folder, file));
  g_hash_table_insert (t, (char *) "SYMBOL", identifier (file));
  g_hash_table_insert (t, (char *) "FILE", file);
  return t;
}

static gboolean
run_new (struct cs_cli *cli, GError **err)
{
  struct scaffold s = { .kind = kind_of (cs_cli_arg (cli, 0), err), .name = cs_cli_arg (cli, 1),
                        .dir = cs_cli_arg (cli, 2), .build = build_of (cs_cli_str (cli, "build-system")) };
  gboolean made;
  if (s.kind == NULL || !check_name (s.kind, s.name, err) || !prepare (s.dir, &made, err))
    return FALSE;
  g_autofree char *id = identifier (s.name);
  s.function = g_strdup_printf ("%s%s_", s.kind->function, id);
  s.words = words_of (s.kind, s.build, s.name);
  s.made = g_ptr_array_new_with_free_func (g_free);
  gboolean ok = write_all (&s, err);
  if (ok)
    cs_info ("wrote the plugin %s%s to %s: README.md there says how it is built and tried",
             s.kind->prefix, s.name, s.dir);
  else
    undo (&s, made);
  g_ptr_array_unref (s.made);
  g_hash_table_unref (s.words);
  g_free (s.function);
  return ok;
}

static const struct cs_opt opts[] = {
  { .name = "build-system", .type = CS_OPT_CHOICE, .arg = "NAME", .choices = "make|autotools|meson",
    .def = "make", .help = "what it is to be built with" },
  { .name = NULL } };
const struct cs_cmd cs_cmd_plugin_new = {
  .name = "new", .args = "hypervisor|repo NAME DIR", .min_args = 3, .max_args = 3, .comp = CS_COMP_DIR,
  .opts = opts, .summary = "Write a plugin to begin with", .run = run_new,
  .text = "Writes a small plugin that works into DIR, which is new or empty: the source in C, its .plugin "
          "file, a README.md and what builds it with capstan.pc. A hypervisor has its machines as folders "
          "and runs nothing; a repository is a folder of images. Both pass capstan plugin test as they are. "
          "What a plugin has to do is in capstan-plugin(3).\n\n"
          "NAME is what --hypervisor or the scheme of a URL says later. The examples and the header are in "
          "the package capstan-dev.",
  .examples = "capstan plugin new repo mine ./repo-mine\n"
              "capstan plugin new hypervisor mine ./hypervisor-mine --build-system meson" };
