/*
 * fdtable.h: a victim's look at its own descriptor table.
 *
 * For each number: file type, flags, close-on-exec, offset, and the lines of
 * fdinfo that describe the object. Offsets of descriptors that the victim moves
 * itself are left out.
 */
#ifndef FDTABLE_H
#define FDTABLE_H
#include "victim.h"
#include <dirent.h>
#include <sys/ioctl.h>

enum { FD_MAX = 256, FD_INFO = 640 };
struct fd_entry {
	int number, cloexec, flags, moving;
	mode_t type;
	dev_t dev;
	ino_t ino;
	off_t offset;
	char info[FD_INFO];
};
static struct fd_entry fd_before[FD_MAX], fd_now[FD_MAX];
static int fd_count;

static int by_text(const void *a, const void *b) { return strcmp(a, b); }

/* fd_info keeps the lines of fdinfo that a restore has to bring back, sorted:
   the kernel lists watches and epoll entries in an order of its own. */
static void fd_info(struct fd_entry *e)
{
	static const char *keep[] = {"eventfd-count", "eventfd-semaphore", "sigmask", "tfd:", "inotify wd", "clockid", "settime flags", "it_interval", "Pid:"};
	char path[64], line[300], lines[16][300];
	int n = 0;
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", e->number);
	FILE *f = fopen(path, "re");
	CHECK(f != NULL);
	while (fgets(line, sizeof line, f)) {
		for (unsigned i = 0; i < sizeof keep / sizeof *keep; i++) {
			if (strncmp(line, keep[i], strlen(keep[i])) != 0 || (i == 0 && e->moving))
				continue;
			char *end = strstr(line, " pos:"); /* epoll: what follows is the target's own state */
			if (!end)
				end = strstr(line, " ignored_mask");
			*(end ? end : strchrnul(line, '\n')) = 0;
			CHECK(n < 16);
			strcpy(lines[n++], line);
		}
	}
	fclose(f);
	qsort(lines, n, sizeof lines[0], by_text);
	for (int i = 0; i < n; i++) {
		CHECK(strlen(e->info) + strlen(lines[i]) + 2 < FD_INFO);
		strcat(strcat(e->info, lines[i]), ";");
	}
}

static void fd_look(struct fd_entry *e)
{
	struct stat st;
	CHECK_EQ(fstat(e->number, &st), 0);
	e->type = st.st_mode & S_IFMT;
	if ((S_ISREG(st.st_mode) && st.st_nlink > 0) || S_ISDIR(st.st_mode) || S_ISCHR(st.st_mode))
		e->dev = st.st_dev, e->ino = st.st_ino;
	e->cloexec = fcntl(e->number, F_GETFD);
	e->flags = fcntl(e->number, F_GETFL);
	if ((S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) && !e->moving && !(e->flags & O_PATH))
		e->offset = lseek(e->number, 0, SEEK_CUR);
	fd_info(e);
}

static int fd_list(struct fd_entry *out, const int *moving)
{
	static int numbers[FD_MAX];
	int n = 0;
	DIR *d = opendir("/proc/self/fd");
	CHECK(d != NULL);
	for (struct dirent *e; (e = readdir(d));)
		if (e->d_name[0] != '.' && atoi(e->d_name) != dirfd(d)) {
			CHECK(n < FD_MAX);
			numbers[n++] = atoi(e->d_name);
		}
	closedir(d);
	memset(out, 0, sizeof *out * FD_MAX);
	for (int i = 0; i < n; i++) {
		out[i].number = numbers[i];
		for (int k = 0; moving[k] >= 0; k++)
			out[i].moving |= moving[k] == numbers[i];
		fd_look(&out[i]);
	}
	return n;
}

static int fd_moving[9] = {1, 2, -1, -1, -1, -1, -1, -1, -1};

/* fd_remember takes the table; the arguments are numbers whose offset moves. */
__attribute__((unused)) static void fd_remember(int a, int b, int c, int d, int e)
{
	int m[] = {a, b, c, d, e};
	for (int i = 0, n = 2; i < 5; i++)
		if (m[i] >= 0)
			fd_moving[n++] = m[i];
	fd_count = fd_list(fd_before, fd_moving);
}

__attribute__((unused)) static void fd_compare(void)
{
	int n = fd_list(fd_now, fd_moving);
	for (int i = 0; i < (n > fd_count ? n : fd_count); i++) {
		struct fd_entry *w = &fd_before[i], *g = &fd_now[i];
		if (i >= n || (i < fd_count && w->number < g->number))
			FAIL("descriptor %d is gone", w->number);
		if (i >= fd_count || w->number > g->number)
			FAIL("descriptor %d is too many", g->number);
		if (strcmp(w->info, g->info) != 0)
			FAIL("descriptor %d: %s, want %s", w->number, g->info, w->info);
		if (memcmp(w, g, sizeof *w) != 0)
			FAIL("descriptor %d: type %o flags %o cloexec %d offset %ld inode %lu, want %o %o %d %ld %lu", w->number,
			     g->type, g->flags, g->cloexec, (long)g->offset, (unsigned long)g->ino, w->type, w->flags,
			     w->cloexec, (long)w->offset, (unsigned long)w->ino);
	}
}
#endif
