// A plugin in C++, through capstan/plugin.h alone: the images that lie in a folder as the
// original Capstan lays them out, to be listed and fetched, never changed.
// listing:/srv/images. SPDX-License-Identifier: BSD-3-Clause
#include <capstan/plugin.h>
#include <cerrno>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace fs = std::filesystem;
namespace {

struct folder { fs::path path; };
const std::string scheme = "listing:";

// Nothing may be thrown across the border: what is thrown becomes the call's error.
template <typename F> int
guarded (capstan_call *call, const fs::path &what, F f)
{
  try {
    return f ();
  } catch (const std::bad_alloc &) {
    return capstan_error (call, CAPSTAN_E_NOMEM, 0, "%s", what.c_str ());
  } catch (const std::exception &e) {
    return capstan_error (call, CAPSTAN_E_IO, 0, "%s: %s", what.c_str (), e.what ());
  }
}

std::string
etag_of (const fs::path &file)
{
  return std::to_string (fs::file_size (file)) + "-" +
         std::to_string (fs::last_write_time (file).time_since_epoch ().count ());
}

std::string
suffix_of (const capstan_kv *kv, std::size_t n)
{
  for (std::size_t i = 0; i < n; i++)
    if (std::string (kv[i].key) == "suffix")
      return kv[i].value;
  return "qemu";
}

int
match (capstan_call *, const char *url)
{
  return std::string (url).compare (0, scheme.size () + 1, scheme + "/") == 0;
}

int
open (capstan_call *call, const char *url, void **ret_self)
{
  return guarded (call, url, [&] {
    if (!match (call, url))
      return capstan_error (call, CAPSTAN_E_INVAL, 0, "'%s': expected %s/path", url, scheme.c_str ());
    *ret_self = new folder{ std::string (url).substr (scheme.size ()) };
    return 0;
  });
}

void
close (capstan_call *, void *self)
{
  delete static_cast<folder *> (self);
}

int
caps (capstan_call *, void *, capstan_caps *ret)
{
  ret->bits = CAPSTAN_REPO_RESUME | CAPSTAN_REPO_LIST | CAPSTAN_REPO_CONDITIONAL;
  return 0;
}

int
list (capstan_call *call, void *self, const capstan_query *, capstan_list *out, const char **ret_next)
{
  const folder *d = static_cast<folder *> (self);
  int rc = guarded (call, d->path, [&] {
    for (const auto &e : fs::recursive_directory_iterator (d->path)) {
      if (capstan_host_->cancelled (call))
        return capstan_error (call, CAPSTAN_E_CANCELLED, 0, "list of %s", d->path.c_str ());
      if (e.path ().filename () != "index.yaml" || !e.is_regular_file ())
        continue;
      std::string name = fs::relative (e.path ().parent_path (), d->path).string ();
      capstan_entry entry = {};
      entry.struct_size = sizeof entry;
      entry.name = name.c_str ();
      entry.size = UINT64_MAX;
      entry.created = INT64_MIN;
      int failed = name == "." ? 0 : capstan_host_->emit_entry (out, &entry);
      if (failed != 0)
        return failed;
    }
    return 0;
  });
  if (rc == 0)
    *ret_next = nullptr;
  return rc;
}

int
resolve (capstan_call *call, void *self, const capstan_query *q, capstan_list *out)
{
  const folder *d = static_cast<folder *> (self);
  return guarded (call, d->path / q->name, [&] {
    std::string name = q->name, last = name.substr (name.rfind ('/') + 1);
    std::string image = name + "/" + last + "." + suffix_of (q->params, q->n_params);
    const struct { std::string path; const char *role, *encoding; } tried[] = {
      { name + "/index.yaml", "index", nullptr }, { image, "image", nullptr },
      { image + ".zst", "image", "zstd" }, { image + ".gz", "image", "gzip" } };
    std::vector<std::string> tags;
    std::vector<capstan_file> files;
    std::vector<const capstan_file *> all;
    tags.reserve (4); // files point into it
    for (const auto &t : tried) {
      fs::path full = d->path / t.path;
      if (!fs::is_regular_file (full))
        continue;
      tags.push_back (etag_of (full));
      capstan_file f = {};
      f.struct_size = sizeof f;
      f.path = t.path.c_str ();
      f.role = t.role;
      f.encoding = t.encoding;
      f.etag = tags.back ().c_str ();
      f.size = UINT64_MAX;
      f.wire_size = fs::file_size (full);
      files.push_back (f);
    }
    if (files.empty ())
      return capstan_error (call, CAPSTAN_E_NOTFOUND, 0, "%s has no '%s'", d->path.c_str (), q->name);
    for (const auto &f : files)
      all.push_back (&f);
    all.push_back (nullptr);
    capstan_entry e = {};
    e.struct_size = sizeof e;
    e.name = e.ref = q->name;
    e.etag = files[0].etag;
    e.size = UINT64_MAX;
    e.created = INT64_MIN;
    e.files = all.data ();
    return capstan_host_->emit_entry (out, &e);
  });
}

int
fetch_part (capstan_call *call, const folder *d, const capstan_part *part, capstan_sink *sink)
{
  fs::path full = d->path / part->path;
  if (!fs::is_regular_file (full))
    return capstan_error (call, CAPSTAN_E_NOTFOUND, 0, "%s is not there", full.c_str ());
  std::ifstream in (full, std::ios::binary);
  std::string tag = etag_of (full);
  std::vector<char> buf (256 * 1024);
  capstan_file f = {};
  f.struct_size = sizeof f;
  f.path = part->path;
  f.etag = tag.c_str ();
  f.size = UINT64_MAX;
  f.wire_size = fs::file_size (full);
  std::uint64_t at = 0;
  int rc = capstan_host_->sink_begin (sink, &f, &at);
  in.seekg (static_cast<std::streamoff> (at));
  while (rc == 0 && at < f.wire_size) {
    in.read (buf.data (), static_cast<std::streamsize> (buf.size ()));
    if (in.gcount () == 0)
      return capstan_error (call, CAPSTAN_E_IO, errno, "read %s", full.c_str ());
    at += static_cast<std::uint64_t> (in.gcount ());
    rc = capstan_host_->sink_write (sink, buf.data (), static_cast<std::size_t> (in.gcount ()));
  }
  return rc != 0 ? rc : capstan_host_->sink_end (sink);
}

int
fetch (capstan_call *call, void *self, const capstan_fetch_req *q, capstan_sink *sink, capstan_fetch_rsp *ret)
{
  const folder *d = static_cast<folder *> (self);
  return guarded (call, d->path, [&] {
    if (q->parts == nullptr || q->parts[0] == nullptr)
      return capstan_error (call, CAPSTAN_E_INVAL, 0, "fetch from %s: no file is named", d->path.c_str ());
    if (q->ref != nullptr && q->if_none_match != nullptr) {
      fs::path index = d->path / q->ref / "index.yaml";
      fs::path counts = fs::is_regular_file (index) ? index : d->path / q->parts[0]->path;
      if (fs::is_regular_file (counts) && etag_of (counts) == q->if_none_match)
        return capstan_error (call, CAPSTAN_E_NOT_MODIFIED, 0, "%s is as it was", q->ref);
    }
    for (auto p = q->parts; *p != nullptr; p++)
      if (int rc = fetch_part (call, d, *p, sink))
        return rc;
    ret->ref = q->ref;
    return 0;
  });
}

// C++ before 20 has no designated initialisers: zeros first, then what there is.
capstan_repo_ops
make_ops ()
{
  capstan_repo_ops o = {};
  o.struct_size = sizeof o;
  o.match = match;
  o.open = open;
  o.close = close;
  o.caps = caps;
  o.list = list;
  o.resolve = resolve;
  o.fetch = fetch;
  return o;
}
const capstan_repo_ops ops = make_ops ();

capstan_provider
make_provider ()
{
  capstan_provider p = {};
  p.struct_size = sizeof p;
  p.kind = CAPSTAN_KIND_REPO;
  p.name = "listing";
  p.summary = "the names in a folder, from a plugin in C++";
  p.schemes = "listing";
  p.caps = CAPSTAN_REPO_RESUME | CAPSTAN_REPO_LIST | CAPSTAN_REPO_CONDITIONAL;
  p.threads = CAPSTAN_THREADS_ANY;
  p.option_size = sizeof (capstan_option);
  p.ops = &ops;
  return p;
}
const capstan_provider provider = make_provider ();
const capstan_provider *const providers[] = { &provider, nullptr };

capstan_plugin
make_plugin ()
{
  capstan_plugin p = {};
  p.struct_size = sizeof p;
  p.abi_major = CAPSTAN_ABI_MAJOR;
  p.abi_minor = CAPSTAN_ABI_MINOR;
  p.name = "listing";
  p.version = "1.0";
  p.license = "BSD-3-Clause";
  p.providers = providers;
  return p;
}
const capstan_plugin plugin = make_plugin ();

} // namespace

CAPSTAN_PLUGIN (plugin);
