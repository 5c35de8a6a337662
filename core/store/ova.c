/* OVA: a tar of an OVF description, a manifest and a disk. SPDX-License-Identifier: BSD-3-Clause
 *
 * DMTF DSP0243, Open Virtualization Format 1.1; POSIX ustar. The disk comes last, as readers
 * of a stream expect; the room before it is filled when its size and digest are known. */
#include "config.h"
#include "core/store/export.h"
#include "core/base/digest.h"
#include "core/base/error.h"
#include "core/base/util.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 512 };

/* What capstan run gives by default. */
enum { CPUS = 1, MEMORY_MB = 512 };

static const char ovf[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    "<Envelope ovf:version=\"1.0\" xml:lang=\"en-US\" xmlns=\"http://schemas.dmtf.org/ovf/envelope/1\"\n"
    "    xmlns:ovf=\"http://schemas.dmtf.org/ovf/envelope/1\"\n"
    "    xmlns:rasd=\"http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData\"\n"
    "    xmlns:vssd=\"http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData\">\n"
    "  <References>\n"
    "    <File ovf:id=\"file1\" ovf:href=\"%s-disk1.vmdk\" ovf:size=\"%" G_GUINT64_FORMAT "\"/>\n"
    "  </References>\n"
    "  <DiskSection>\n"
    "    <Info>The disk</Info>\n"
    "    <Disk ovf:diskId=\"disk1\" ovf:fileRef=\"file1\" ovf:capacity=\"%" G_GUINT64_FORMAT "\"\n"
    "        ovf:format=\"http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized\"/>\n"
    "  </DiskSection>\n"
    "  <NetworkSection>\n"
    "    <Info>The network</Info>\n"
    "    <Network ovf:name=\"NAT\"><Description>NAT</Description></Network>\n"
    "  </NetworkSection>\n"
    "  <VirtualSystem ovf:id=\"%s\">\n"
    "    <Info>Made by capstan " PACKAGE_VERSION "</Info>\n"
    "    <Name>%s</Name>\n"
    "    <OperatingSystemSection ovf:id=\"101\">\n"
    "      <Info>The guest</Info>\n"
    "      <Description>Linux26_64</Description>\n"
    "    </OperatingSystemSection>\n"
    "    <VirtualHardwareSection>\n"
    "      <Info>The machine</Info>\n"
    "      <System>\n"
    "        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>\n"
    "        <vssd:InstanceID>0</vssd:InstanceID>\n"
    "        <vssd:VirtualSystemIdentifier>%s</vssd:VirtualSystemIdentifier>\n"
    "        <vssd:VirtualSystemType>vmx-07 virtualbox-2.2</vssd:VirtualSystemType>\n"
    "      </System>\n"
    "      <Item>\n"
    "        <rasd:ElementName>%d processor</rasd:ElementName>\n"
    "        <rasd:InstanceID>1</rasd:InstanceID>\n"
    "        <rasd:ResourceType>3</rasd:ResourceType>\n"
    "        <rasd:VirtualQuantity>%d</rasd:VirtualQuantity>\n"
    "      </Item>\n"
    "      <Item>\n"
    "        <rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>\n"
    "        <rasd:ElementName>%d MB of memory</rasd:ElementName>\n"
    "        <rasd:InstanceID>2</rasd:InstanceID>\n"
    "        <rasd:ResourceType>4</rasd:ResourceType>\n"
    "        <rasd:VirtualQuantity>%d</rasd:VirtualQuantity>\n"
    "      </Item>\n"
    "      <Item>\n"
    "        <rasd:Address>0</rasd:Address>\n"
    "        <rasd:ElementName>IDE controller</rasd:ElementName>\n"
    "        <rasd:InstanceID>3</rasd:InstanceID>\n"
    "        <rasd:ResourceSubType>PIIX4</rasd:ResourceSubType>\n"
    "        <rasd:ResourceType>5</rasd:ResourceType>\n"
    "      </Item>\n"
    "      <Item>\n"
    "        <rasd:AddressOnParent>0</rasd:AddressOnParent>\n"
    "        <rasd:ElementName>disk1</rasd:ElementName>\n"
    "        <rasd:HostResource>ovf:/disk/disk1</rasd:HostResource>\n"
    "        <rasd:InstanceID>4</rasd:InstanceID>\n"
    "        <rasd:Parent>3</rasd:Parent>\n"
    "        <rasd:ResourceType>17</rasd:ResourceType>\n"
    "      </Item>\n"
    "      <Item>\n"
    "        <rasd:AutomaticAllocation>true</rasd:AutomaticAllocation>\n"
    "        <rasd:Connection>NAT</rasd:Connection>\n"
    "        <rasd:ElementName>Ethernet adapter</rasd:ElementName>\n"
    "        <rasd:InstanceID>5</rasd:InstanceID>\n"
    "        <rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType>\n"
    "        <rasd:ResourceType>10</rasd:ResourceType>\n"
    "      </Item>\n"
    "    </VirtualHardwareSection>\n"
    "  </VirtualSystem>\n"
    "</Envelope>\n";

struct header { /* ustar; numbers are octal text */
  char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[6],
      version[2], user[32], group[32], major[8], minor[8], prefix[155], rest[12];
};
G_STATIC_ASSERT (sizeof (struct header) == BLOCK);

/* Digits without an end, as many as the field has. */
static void
octal (char *field, gsize width, guint64 n)
{
  for (gsize k = width - 1; k-- > 0; n >>= 3)
    field[k] = (char) ('0' + (n & 7));
}

static gboolean
put_header (int fd, const char *path, guint64 at, const char *name, guint64 size, GError **err)
{
  struct header h = { .type = '0' };
  const guchar *p = (const guchar *) &h;
  guint64 sum = 0;
  g_strlcpy (h.name, name, sizeof h.name);
  octal (h.mode, sizeof h.mode, 0644);
  octal (h.uid, sizeof h.uid, 0);
  octal (h.gid, sizeof h.gid, 0);
  octal (h.mtime, sizeof h.mtime, 0);
  octal (h.size, sizeof h.size, size);
  memcpy (h.magic, "ustar", 6);
  memcpy (h.version, "00", 2);
  memset (h.sum, ' ', sizeof h.sum);
  for (gsize k = 0; k < sizeof h; k++)
    sum += p[k];
  octal (h.sum, sizeof h.sum - 1, sum);
  h.sum[6] = '\0';
  return cs_pwrite_all (fd, &h, sizeof h, at, path, err);
}

/* What takes the disk as it comes. */
struct stream {
  int fd;
  const char *path;
  guint64 from, at;
  struct cs_sha256 *sum;
};

static gboolean
take (void *data, const void *buf, gsize n, GError **err)
{
  struct stream *s = data;
  guint64 at = s->at;
  s->at += n;
  if (s->at - s->from >= (guint64) 1 << 33)
    return cs_fail (err, CAPSTAN_E_LIMIT, "%s: compressed, the disk takes more than the 8 GiB that an OVA holds",
                    s->path);
  cs_sha256_add (s->sum, buf, n);
  return cs_pwrite_all (s->fd, buf, n, at, s->path, err);
}

static void
digest (const char *text, char hex[CS_HEX_SHA256])
{
  struct cs_sha256 *sum = cs_sha256_new ();
  cs_sha256_add (sum, text, strlen (text));
  cs_sha256_end (sum, hex);
  cs_sha256_free (sum);
}

static char *
manifest (const char *base, const char *ovf_sum, const char *disk_sum)
{
  return g_strdup_printf ("SHA256 (%s.ovf) = %s\nSHA256 (%s-disk1.vmdk) = %s\n", base, ovf_sum, base,
                          disk_sum);
}

/* The description; as long whatever the size of the file. g_free. */
static char *
describe (const char *base, guint64 file_size, guint64 size)
{
  g_autofree char *longest = g_strdup_printf (ovf, base, G_MAXUINT64, size, base, base, base, CPUS, CPUS,
                                              MEMORY_MB, MEMORY_MB);
  g_autofree char *text = g_strdup_printf (ovf, base, file_size, size, base, base, base, CPUS, CPUS,
                                           MEMORY_MB, MEMORY_MB);
  return g_strdup_printf ("%-*s", (int) strlen (longest), text);
}

static gboolean
put_file (int fd, const char *path, guint64 at, const char *base, const char *end, const char *text,
          GError **err)
{
  g_autofree char *name = g_strconcat (base, end, NULL);
  return put_header (fd, path, at, name, strlen (text), err) &&
         cs_pwrite_all (fd, text, strlen (text), at + BLOCK, path, err);
}

gboolean
cs_ova_write (int fd, const char *path, const char *name, int raw, guint64 size, guint64 *ret_at,
              guint64 *ret_size, GError **err)
{
  char ovf_sum[CS_HEX_SHA256], disk_sum[CS_HEX_SHA256];
  g_autofree char *base = g_path_get_basename (name);
  base[MIN (strlen (base), sizeof ((struct header *) NULL)->name - sizeof "-disk1.vmdk")] = '\0';
  g_autofree char *disk = g_strconcat (base, "-disk1.vmdk", NULL);
  /* both are as long as they will be when the disk is known */
  g_autofree char *draft = describe (base, 0, size);
  digest (draft, ovf_sum);
  g_autofree char *mf_draft = manifest (base, ovf_sum, ovf_sum);
  guint64 mf_at = BLOCK + CS_ALIGN (strlen (draft), BLOCK);
  guint64 disk_at = mf_at + BLOCK + CS_ALIGN (strlen (mf_draft), BLOCK);
  struct stream s = { fd, path, disk_at + BLOCK, disk_at + BLOCK, cs_sha256_new () };
  const struct cs_vmdk_out out = { take, &s };
  gboolean ok = cs_vmdk_stream (raw, name, size, disk, &out, err);
  cs_sha256_end (s.sum, disk_sum);
  cs_sha256_free (s.sum);
  if (!ok)
    return FALSE;
  *ret_at = s.from;
  *ret_size = s.at - s.from;
  /* a name of an image has no character that XML gives a meaning */
  g_autofree char *text = describe (base, *ret_size, size);
  digest (text, ovf_sum);
  g_autofree char *mf = manifest (base, ovf_sum, disk_sum);
  /* and two blocks of zeroes at the end */
  return put_header (fd, path, disk_at, disk, *ret_size, err) &&
         put_file (fd, path, 0, base, ".ovf", text, err) &&
         put_file (fd, path, mf_at, base, ".mf", mf, err) &&
         (ftruncate (fd, (off_t) (s.at + 2 * BLOCK)) == 0 || cs_fail_errno (err, "write %s", path));
}
