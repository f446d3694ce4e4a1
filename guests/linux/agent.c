/*
 * init of the guest in which Debian's own qemu-ga runs: loads the modules of its channel, in the order of their names,
 * and becomes the agent once the channel is there.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void load(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || syscall(SYS_finit_module, fd, "", 0) != 0)
        perror(path);
    if (fd >= 0)
        close(fd);
}

static int ports(const struct dirent *entry)
{
    return strncmp(entry->d_name, "vport", 5) == 0;
}

static int files(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

int main(void)
{
    struct dirent **found;
    char path[512];
    mkdir("/proc", 0755);
    mkdir("/sys", 0755);
    mkdir("/run", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("sysfs", "/sys", "sysfs", 0, NULL);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    sethostname("with-agent", 10);
    int count = scandir("/modules", &found, files, alphasort);
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "/modules/%s", found[i]->d_name);
        load(path);
    }
    for (int tries = 0; tries < 600; tries++, usleep(100000)) {
        if (scandir("/sys/class/virtio-ports", &found, ports, alphasort) < 1)
            continue;
        snprintf(path, sizeof path, "/dev/%s", found[0]->d_name);
        break;
    }
    printf("agent starts at %s\n", path);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        execl("/qemu-ga", "qemu-ga", "-m", "virtio-serial", "-p", path, "-t", "/run", (char *)NULL);
        perror("/qemu-ga");
        _exit(1);
    }
    int status = 0;
    while (waitpid(-1, &status, 0) != child)
        continue;
    printf("agent ended with %d\n", status);
    fflush(stdout);
    for (;;)
        pause();
}
