/* Says hello from inside the virtual machine. SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <sys/utsname.h>

int
main (int argc, char **argv)
{
  struct utsname u;
  printf ("Hello");
  for (int i = 1; i < argc; i++)
    printf (" %s", argv[i]);
  if (uname (&u) == 0)
    printf (", on %s %s (%s)", u.sysname, u.release, u.machine);
  puts ("!");
  return 0;
}
