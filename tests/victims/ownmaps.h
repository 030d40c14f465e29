/*
 * ownmaps.h: a victim's look at its own address space.
 *
 * The list of areas is remembered and compared without what a restore may
 * legally change: names of anonymous memory, where neighbouring anonymous areas
 * of equal protection are split, the kernel's own areas (vdso, vvar, vsyscall),
 * the stack, which grows, and the brk area.
 */
#ifndef OWNMAPS_H
#define OWNMAPS_H
#include "victim.h"

enum { MAX_AREAS = 512 };
struct area {
	unsigned long start, end, offset;
	char prot[5];
	char path[160]; /* empty: anonymous, private or shared */
};
static struct area own_before[MAX_AREAS], own_now[MAX_AREAS];
static int own_count;

static const char *slurp(const char *path)
{
	static char text[1 << 20];
	size_t n = 0;
	ssize_t r;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	while ((r = read(fd, text + n, sizeof text - 1 - n)) > 0)
		n += r;
	CHECK(r == 0);
	close(fd);
	text[n] = 0;
	return text;
}

static int parse_area(const char *line, struct area *a)
{
	char path[256] = "";
	memset(a, 0, sizeof *a);
	if (sscanf(line, "%lx-%lx %4s %lx %*s %*u %255[^\n]", &a->start, &a->end, a->prot, &a->offset, path) < 4)
		return 0;
	if (strncmp(path, "[v", 2) == 0 || strcmp(path, "[stack]") == 0)
		return 0;
	if (path[0] == '/' && !strstr(path, "(deleted)")) {
		CHECK(strlen(path) < sizeof a->path);
		strcpy(a->path, path);
	} else
		a->offset = 0;
	return 1;
}

/* own_maps_list writes the normal form of /proc/self/maps and returns its length. */
static int own_maps_list(struct area *out)
{
	const char *line = slurp("/proc/self/maps");
	int n = 0;
	for (; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		struct area a, *last = n ? &out[n - 1] : NULL;
		if (!parse_area(line, &a))
			continue;
		if (last && last->end == a.start && !*a.path && !*last->path && strcmp(a.prot, last->prot) == 0) {
			last->end = a.end;
			continue;
		}
		CHECK(n < MAX_AREAS);
		out[n++] = a;
	}
	return n;
}

__attribute__((unused)) static void own_maps_remember(void) { own_count = own_maps_list(own_before); }

/* own_maps_differ looks for the first area that is not as remembered; the area
   that begins at or reaches past heap may have grown. It returns 0 without. */
static int own_maps_differ(unsigned long heap, struct area *want, struct area *got)
{
	int n = own_maps_list(own_now), i = 0;
	for (int j = 0; i < own_count && j < n; i++, j++) {
		struct area *w = &own_before[i], *g = &own_now[j];
		if (g->start == heap && w->start != heap) { /* no heap was there yet */
			i--;
			continue;
		}
		if (w->end == heap && g->start == w->start && g->end > heap)
			continue;
		if (memcmp(w, g, sizeof *w) != 0) {
			*want = *w, *got = *g;
			return 1;
		}
	}
	if (i == own_count)
		return 0;
	*want = own_before[i];
	memset(got, 0, sizeof *got);
	return 1;
}

/* own_maps_compare FAILs when an area is not as remembered. A checkpoint in the
   middle of reading may show a line twice: it looks a second time. */
__attribute__((unused)) static void own_maps_compare(const void *brk)
{
	struct area w, g;
	if (own_maps_differ((unsigned long)brk, &w, &g) && own_maps_differ((unsigned long)brk, &w, &g))
		FAIL("area %lx-%lx %s %lx %s is now %lx-%lx %s %lx %s", w.start, w.end, w.prot, w.offset, w.path, g.start,
		     g.end, g.prot, g.offset, g.path);
}

static int own_vmflag_once(const void *p, const char *flag)
{
	const char *line = slurp("/proc/self/smaps");
	unsigned long lo, hi, at = (unsigned long)p;
	int inside = 0;
	for (; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		if (sscanf(line, "%lx-%lx ", &lo, &hi) == 2 && line[0] >= '0' && line[0] <= 'f' && line[8] != ':')
			inside = at >= lo && at < hi;
		if (inside && strncmp(line, "VmFlags:", 8) == 0) {
			const char *end = strchr(line, '\n'), *hit = strstr(line + 8, flag);
			return hit && hit < end && hit[-1] == ' ' && hit[2] == ' ';
		}
	}
	return 0;
}

/* own_vmflag says whether the area that holds p has a two-letter VmFlag. */
__attribute__((unused)) static int own_vmflag(const void *p, const char *flag)
{
	return own_vmflag_once(p, flag) || own_vmflag_once(p, flag); /* as above */
}
#endif
