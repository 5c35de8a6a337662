/* What `capstan help TOPIC` explains. SPDX-License-Identifier: BSD-3-Clause */
#include "config.h"
#include "core/cli/cli.h"
#include <string.h>

const struct cs_topic cs_topics[] = {
  { .name = "exit-status", .title = "Exit status", .in_manual = TRUE, .see = "capstan(1)",
    .text = "0 success, 1 failure, 2 usage, 3 not found, 4 conflict (it exists, it is in use).\n\n"
            "capstan run and capstan wait return the application's own exit status: 128+N after "
            "signal N, 126 if it cannot be executed, 127 if it is not there. 125 is a failure of "
            "capstan itself." },
  { .name = "environment", .title = "Environment", .in_manual = TRUE, .see = "capstan(1)",
    .text = "CAPSTAN_ROOT: folder of images and instances (~/.capstan).\n\n"
            "CAPSTAN_HYPERVISOR, CAPSTAN_REPO: defaults of --hypervisor and --repo.\n\n"
            "CAPSTAN_REPO_URL: the default repository, as the original has it.\n\n"
            "CAPSTAN_PLUGIN_PATH: folders to look for plugins in first, parted by colons.\n\n"
            "CAPSTAN_DISABLE_KVM: 1: never use hardware acceleration.\n\n"
            "CAPSTAN_LIBVIRT_URI: libvirt connection of the kvm plugin.\n\n"
            "SOURCE_DATE_EPOCH: time stamp of every file in built images (0).\n\n"
            "NO_COLOR: if it is set and not empty, messages have no colour on a terminal either." },
  { .name = "files", .title = "Files", .in_manual = TRUE, .see = "capstan-config(5)",
    .text = "~/.capstan/config.yaml: your defaults.\n\n"
            "~/.capstan/repository: the images, laid out as the original has them.\n\n"
            "~/.capstan/instances: what runs: its disk, logs and record.\n\n"
            "~/.capstan/volumes: disks that outlive instances (capstan volume).\n\n"
            "~/.capstan/plugins: plugins of your own, read if nobody else may write there." },
  { .name = "capstanfile", .title = "The Capstanfile", .see = "Capstanfile(5), capstan build --help",
    .text = "A Capstanfile says what an image is made of. It is YAML: base (the image to build on), "
            "cmdline (the program in the image and its arguments), files (a map of path in the "
            "image to path here), build (a command that makes the files first) and rootfs (a folder "
            "that becomes the root).\n\n"
            "The base decides the kind of guest: an OSv loader gets a ROFS, the base linux an ext4 "
            "file system. capstan init writes a Capstanfile to begin with." },
  { .name = "hypervisors", .title = "Hypervisors", .see = "capstan plugin list, capstan-plugin(3)",
    .text = "What runs a machine is a plugin, chosen by --hypervisor (-p), CAPSTAN_HYPERVISOR, or "
            "hypervisor: in config.yaml; kvm without them. capstan plugin list shows those that are "
            "there and what was refused and why; capstan doctor tells whether they work here." },
  { .name = "repositories", .title = "Repositories", .see = "capstan-repository(7), capstan repo --help",
    .text = "A repository keeps images for others: a web server, an S3 bucket or a Git repository. "
            "--repo takes a URL, or a name that capstan repo add gave one. capstan pull fetches an "
            "image, capstan push stores one, capstan search lists what is there. What is pulled is "
            "checked against its digest before it enters the store." },
  { .name = NULL }
};

const struct cs_topic *
cs_topic_find (const char *name)
{
  for (const struct cs_topic *t = cs_topics; t->name != NULL; t++)
    if (strcmp (t->name, name) == 0)
      return t;
  return NULL;
}
