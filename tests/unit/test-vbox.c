/* Reading what VBoxManage prints. The texts are those of VirtualBox 7.2, shortened.
 * SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "plugins/hypervisor-vbox/vbox.h"
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* vbox.h declares what the plugin has of its host; nothing of that is used here. */
const struct capstan_host *capstan_host_;

static void
parse (const char *text, struct vb_info *i)
{
  char *copy = strdup (text);
  vb_parse_info (copy, i);
  free (copy);
}

static void
machine (void **st)
{
  struct vb_info i;
  parse ("WARNING: The character device /dev/vboxdrv does not exist.\n"
         "\t Please install the virtualbox-dkms package\n\n"
         "name=\"capstan-12345678\"\n"
         "description=\"two lines\nVMState=\\\"gone\\\"\nand a \\\\ more\"\n"
         "LogFldr=\"/x/a \\\"b\\\"/Logs\"\n"
         "memory=64\n rec_screen0\n"
         "VMState=\"running\"\nVMStateChangeTime=\"2026-11-24T13:41:10.959000000\"\n"
         "storagecontrollername0=\"disk\"\n"
         "\"disk-0-0\"=\"/x/disk0.vmdk\"\n\"disk-ImageUUID-0-0\"=\"12f2abd3\"\n\"disk-1-0\"=\"none\"\n"
         "macaddress1=\"525400123456\"\nnic1=\"nat\"\nnictype1=\"virtio\"\n"
         "Forwarding(0)=\"capstan0,tcp,127.0.0.1,18080,,80\"\nForwarding(1)=\"capstan1,udp,,53,,5353\"\n"
         "macaddress2=\"0800277E4E3D\"\nbridgeadapter2=\"eth0\"\nnic2=\"bridged\"\nnictype2=\"82540EM\"\nnic3=\"none\"\n",
         &i);
  assert_string_equal (i.name, "capstan-12345678");
  assert_string_equal (i.state, "running"); /* not the one in the description */
  assert_string_equal (i.log_dir, "/x/a \"b\"/Logs");
  assert_int_equal (i.changed, 1795527670);
  assert_int_equal (i.n_disks, 1);
  assert_string_equal (i.disks[0], "/x/disk0.vmdk");
  assert_string_equal (i.nics[0].mode, "nat");
  assert_string_equal (i.nics[0].mac, "52:54:00:12:34:56");
  assert_int_equal (i.n_forwards, 2);
  assert_string_equal (i.forwards[0], "tcp:127.0.0.1:18080:80");
  assert_string_equal (i.forwards[1], "udp:0.0.0.0:53:5353");
  assert_int_equal (i.forward_nic[1], 0);
  assert_string_equal (i.nics[1].mode, "bridged");
  assert_string_equal (i.nics[1].device, "eth0");
  assert_string_equal (i.nics[2].mode, "");
}

/* Nothing that is cut off, or too much, or of another form, goes wrong. */
static void
odd (void **st)
{
  static const char *const all[] = { "", "\n\n", "=", "=\n=\n", "\"", "\"a", "\"a\"", "\"a\"=\"", "a=\"\\", "a=\"\\\"",
    "VMState", "VMState=", "Forwarding(0)=\"a,b\"\n", "macaddress1=\"12\"\n", "nic9=\"nat\"\n", "nic0=\"nat\"\n",
    "VMStateChangeTime=\"yesterday\"\n" };
  struct vb_info i;
  for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
    parse (all[k], &i);
    assert_string_equal (i.state, "");
    assert_int_equal (i.n_forwards, 0);
  }
  size_t n = 200000;
  char *big = calloc (1, n + 1), *at = big;
  while (at + 64 < big + n)
    at += sprintf (at, "Forwarding(0)=\"n,tcp,1.2.3.4,1,,2\"\n\"disk-0-0\"=\"/x\"\n");
  vb_parse_info (big, &i);
  assert_int_equal (i.n_forwards, FORWARDS_MAX);
  assert_int_equal (i.n_disks, DISKS_MAX);
  memset (big, 'x', n);
  memcpy (big, "name=", 5);
  vb_parse_info (big, &i);
  assert_int_equal (strlen (i.name), sizeof i.name - 1);
  free (big);
}

static void
errors (void **st)
{
  static const char gone[] =
      "VBoxManage: error: Could not find a registered machine named 'x'\n"
      "VBoxManage: error: Details: code VBOX_E_OBJECT_NOT_FOUND (0x80bb0001), component VirtualBoxWrap, interface IVirtualBox\n"
      "VBoxManage: error: Context: \"FindMachine()\" at line 893 of file VBoxManageModifyVM.cpp\n";
  static const char service[] =
      "VBoxManage: error: Failed to create the VirtualBox object!\n"
      "VBoxManage: error: Code NS_ERROR_FAILURE (0x80004005) - Operation failed (extended info not available)\n";
  char text[64];
  assert_int_equal (vb_error_code (gone), VB_OBJECT_NOT_FOUND);
  assert_int_equal (vb_error_code (service), 0x80004005);
  assert_int_equal (vb_error_code ("VBoxManage: error: code is 5 (0x5)"), 0);
  assert_int_equal (vb_error_code (""), 0);
  assert_true (vb_service_missing (service));
  assert_true (vb_service_missing ("Details: code NS_ERROR_FACTORY_NOT_REGISTERED (0x80040154)"));
  assert_false (vb_service_missing (gone));
  vb_error_text (gone, text, sizeof text);
  assert_string_equal (text, "Could not find a registered machine named 'x'");
  vb_error_text ("0%...10%...\nVBoxManage: error: VBoxManage: error: twice\n", text, sizeof text);
  assert_string_equal (text, "twice");
  vb_error_text (gone, text, 10);
  assert_string_equal (text, "Could not");
  vb_error_text ("", text, sizeof text);
  assert_string_equal (text, "");
}

static void
small_things (void **st)
{
  int major, minor;
  char mac[13], list[] = "\"capstan-1\" {00000000-0000-4000-8000-000000000001}\n"
    "\"mine\" {00000000-0000-4000-8000-000000000002}\n\"capstan-\"we\"ird} {\" {00000000-0000-4000-8000-000000000003}\n"
    "\"capstan-short\" {1}\ngarbage\n", *rest = list;
  assert_int_equal (vb_parse_version ("WARNING: x\n\t 9.9.9\n7.2.22_Debianr175245\n", &major, &minor), 0);
  assert_true (major == 7 && minor == 2);
  assert_int_equal (vb_parse_version ("6.1.50r161033\n", &major, &minor), 0);
  assert_true (major == 6 && minor == 1);
  assert_int_equal (vb_parse_version ("nothing\n", &major, &minor), -1);
  assert_string_equal (vb_next_machine (&rest, "capstan-"), "00000000-0000-4000-8000-000000000001");
  assert_string_equal (vb_next_machine (&rest, "capstan-"), "00000000-0000-4000-8000-000000000003");
  assert_null (vb_next_machine (&rest, "capstan-"));
  assert_int_equal (vb_mac ("52:54:00:ab:cd:ef", mac), 0);
  assert_string_equal (mac, "525400ABCDEF");
  static const char *const bad[] = { "", "52:54:00:ab:cd", "53:54:00:ab:cd:ef", "52-54-00-ab-cd-ef", "52:54:00:ab:cd:ef:00",
    "52:54:00:ab:cd:e", "00:00:00:00:00:00", "5:254:00:ab:cd:ef", "525400abcdef", "52:54:00:ab:cd:eg" };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal (vb_mac (bad[i], mac), -1);
}

int
main (void)
{
  const struct CMUnitTest tests[] = { cmocka_unit_test (machine), cmocka_unit_test (odd),
                                      cmocka_unit_test (errors), cmocka_unit_test (small_things) };
  return cmocka_run_group_tests (tests, NULL, NULL);
}
