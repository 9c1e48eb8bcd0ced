/*
 * spool_dir.c - see spool_dir.h.
 */
#include "proxy/spool/spool_dir.h"

#include "conf/conf.h"
#include "conf/mem.h"
#include "proxy/spool/spool_text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

char *spool_dir_path(const struct conf *conf)
{
	return mem_printf("%s/spool", conf->server.state_dir);
}

static bool fail_errno(const char *what, char why[SPOOL_WHY])
{
	snprintf(why, SPOOL_WHY, "%.160s: %s", what, strerror(errno));
	return false;
}

bool spool_dir_sync(const char *directory)
{
	int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool done = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	return done;
}

/* A directory whose own name is lost in a crash takes all mail with it. */
bool spool_dir_make(const char *directory, char why[SPOOL_WHY])
{
	char *parent = mem_strdup(directory);
	bool done = true;

	*strrchr(parent, '/') = '\0';
	if (mkdir(directory, 0700) == 0)
		done = spool_dir_sync(parent) || fail_errno(parent, why);
	else if (errno != EEXIST)
		done = fail_errno(directory, why);
	free(parent);
	return done;
}

bool spool_dir_is_there(const char *directory, int lock, char why[SPOOL_WHY])
{
	char *path = mem_printf("%s/lock", directory);
	struct stat ours, there;
	bool is_there = fstat(lock, &ours) == 0 && stat(path, &there) == 0 &&
			ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;

	free(path);
	if (!is_there)
		spool_dir_say_gone(directory, why);
	return is_there;
}

void spool_dir_say_gone(const char *directory, char why[SPOOL_WHY])
{
	snprintf(why, SPOOL_WHY,
	    "%.150s is not the directory that it was: unmounted? What waits there is tried "
	    "again when it is back",
	    directory);
}

/* ---- room ---- */

/* Octets that stay free for the index, which must be able to say that messages are done; on a small
 * disk this part of it. */
enum { RESERVE = 16 * 1024 * 1024, RESERVE_PART = 20, RESERVE_FILES = 16 };

uint64_t spool_dir_room(const char *directory, int *error)
{
	struct statvfs fs;

	*error = 0;
	if (access(directory, W_OK | X_OK) < 0 || statvfs(directory, &fs) < 0) {
		*error = errno;
		return 0;
	}
	uint64_t size = (uint64_t)fs.f_blocks * fs.f_frsize;
	uint64_t free_now = (uint64_t)fs.f_bavail * fs.f_frsize;
	uint64_t reserve = size / RESERVE_PART < RESERVE ? size / RESERVE_PART : RESERVE;
	bool has_files = fs.f_files == 0 || fs.f_favail > RESERVE_FILES;

	return has_files && free_now > reserve ? free_now - reserve : 0;
}

/* ---- reading ---- */

static bool is_regular(int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

/* Waiting for the other end of a pipe would be waiting for ever; on a file O_NONBLOCK does nothing.
 */
int spool_dir_open(const char *directory, const char *id, int flags)
{
	char *path = mem_printf("%s/%s", directory, id);
	int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	int error = errno;

	if (fd >= 0 && !is_regular(fd)) {
		close(fd);
		fd = -1;
		error = ELOOP; /* as for a symbolic link */
	}
	free(path);
	errno = error;
	return fd;
}

static int open_file(const char *directory, const char *id, bool *is_damaged, char why[SPOOL_WHY])
{
	int fd = spool_dir_open(directory, id, O_RDONLY);

	*is_damaged = fd < 0 && (errno == ENOENT || errno == ELOOP);
	if (fd < 0 && errno == ELOOP)
		snprintf(why, SPOOL_WHY, "its file is none");
	else if (fd < 0)
		fail_errno("its file", why);
	return fd;
}

static ssize_t read_at(int fd, char *data, size_t len, off_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t got = pread(fd, data + done, len - done, offset + (off_t)done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

static bool damaged(const char *what, bool *is_damaged, char why[SPOOL_WHY])
{
	*is_damaged = true;
	snprintf(why, SPOOL_WHY, "%s", what);
	return false;
}

/* An input/output error is no damage: the disk may be back in a moment. */
static bool read_line(int fd, struct spool_file *file, bool *is_damaged, char why[SPOOL_WHY])
{
	char line[SPOOL_FILE_LINE];
	ssize_t got = read_at(fd, line, sizeof line, 0);

	if (got < 0)
		return fail_errno("its file", why);
	if (!spool_file_read_line(line, (size_t)got, file))
		return damaged("its file does not begin like one", is_damaged, why);
	return true;
}

/* After a crash of the whole machine a file may have a size and no content. */
static bool is_blank(int fd)
{
	char line[SPOOL_FILE_LINE] = "";
	ssize_t got = read_at(fd, line, sizeof line, 0);

	for (ssize_t i = 0; i < got; i++)
		if (line[i] && got == SPOOL_FILE_LINE)
			return false;
	return got >= 0;
}

bool spool_dir_read_line(const char *directory, const char *id, struct spool_file *file,
    bool *is_damaged, char why[SPOOL_WHY])
{
	int fd = open_file(directory, id, is_damaged, why);
	bool done = fd >= 0 && read_line(fd, file, is_damaged, why);

	if (fd >= 0 && *is_damaged && is_blank(fd)) {
		file->mark = SPOOL_MARK_BEGUN;
		done = true;
	}
	if (fd >= 0)
		close(fd);
	return done;
}

static bool fits(int fd, const struct spool_file *file, const struct spool_message *message,
    bool *is_damaged, char why[SPOOL_WHY])
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return fail_errno("its file", why);
	if (file->mark == SPOOL_MARK_BEGUN || file->body_size != message->size ||
	    (uint64_t)status.st_size != spool_file_body_at(file) + message->size)
		return damaged("its file does not have the size that it should", is_damaged, why);
	if (lseek(fd, (off_t)spool_file_body_at(file), SEEK_SET) < 0)
		return fail_errno("its file", why);
	return true;
}

int spool_dir_open_body(const char *directory, const struct spool_message *message,
    bool *is_damaged, char why[SPOOL_WHY])
{
	struct spool_file file;
	bool unused;
	int fd;

	if (!is_damaged)
		is_damaged = &unused;
	fd = open_file(directory, message->id, is_damaged, why);
	if (fd >= 0 &&
	    !(read_line(fd, &file, is_damaged, why) && fits(fd, &file, message, is_damaged, why))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static struct spool_message *read_header(
    int fd, const struct spool_file *file, bool *is_damaged, char why[SPOOL_WHY])
{
	char *header = mem_alloc(file->header_len);
	struct spool_message *message = NULL;
	ssize_t got = read_at(fd, header, file->header_len, SPOOL_FILE_LINE);

	if (got >= 0)
		message = spool_file_read_header(file, header, (size_t)got);
	if (got < 0)
		fail_errno("its file", why);
	else if (!message)
		damaged("the envelope in its file is damaged", is_damaged, why);
	free(header);
	return message;
}

struct spool_message *spool_dir_read(const char *directory, const char *id, struct spool_file *file,
    bool *is_damaged, char why[SPOOL_WHY])
{
	struct spool_message *message = NULL;
	int fd = open_file(directory, id, is_damaged, why);

	if (fd < 0)
		return NULL;
	if (read_line(fd, file, is_damaged, why))
		message = read_header(fd, file, is_damaged, why);
	if (message && strcmp(message->id, id) != 0) {
		spool_message_free(&message);
		damaged("its file has another one's name", is_damaged, why);
	}
	close(fd);
	return message;
}

/* ---- marks ---- */

static bool write_mark(int fd, enum spool_mark mark)
{
	char why[SPOOL_WHY], letter = (char)mark;
	struct spool_file file;
	bool is_damaged = false;

	if (!read_line(fd, &file, &is_damaged, why)) {
		errno = is_damaged ? EBADMSG : EIO;
		return false;
	}
	if (file.mark == mark || file.mark == SPOOL_MARK_DONE)
		return true;
	if (pwrite(fd, &letter, 1, SPOOL_FILE_MARK_AT) != 1)
		return false;
	sync_file_range(fd, 0, SPOOL_FILE_LINE, SYNC_FILE_RANGE_WRITE); /* a hint */
	return true;
}

bool spool_dir_mark(const char *directory, const char *id, enum spool_mark mark)
{
	int fd = spool_dir_open(directory, id, O_RDWR);
	bool done = fd >= 0 && write_mark(fd, mark);
	int error = errno;

	if (fd >= 0)
		close(fd);
	errno = error;
	return done;
}

/*
 * Opened by name: an error that the kernel met while it wrote the file is told to the first
 * fdatasync() on any descriptor that was opened before or after it, and no other one calls it.
 */
bool spool_dir_sync_file(const char *directory, const char *id)
{
	int fd = spool_dir_open(directory, id, O_RDONLY);
	bool done = fd >= 0 && fdatasync(fd) == 0;
	int error = errno;

	if (fd >= 0)
		close(fd);
	errno = error;
	return done;
}

bool spool_dir_check_body(
    const char *directory, const struct spool_message *message, const struct spool_file *file)
{
	enum { BLOCK = 64 * 1024 };
	char why[SPOOL_WHY];
	int fd = spool_dir_open_body(directory, message, NULL, why);
	char *block = mem_alloc(BLOCK);
	uint64_t sum = SPOOL_SUM_START, at = 0;
	ssize_t got = 0;

	for (; fd >= 0 && at < message->size; at += (uint64_t)got) {
		got = read_at(fd, block, BLOCK, (off_t)(spool_file_body_at(file) + at));
		if (got <= 0)
			break;
		sum = spool_sum(sum, block, (size_t)got);
	}
	free(block);
	if (fd < 0)
		return false;
	close(fd);
	return at == message->size && sum == file->body_sum;
}

bool spool_dir_each(const char *directory, spool_dir_fn *each, void *arg)
{
	struct dirent *entry;
	DIR *dir = opendir(directory);

	if (!dir)
		return false;
	while ((entry = readdir(dir)))
		if (spool_is_id(entry->d_name))
			each(entry->d_name, arg);
	closedir(dir);
	return true;
}

/* ---- setting aside ---- */

static bool write_text(const char *path, const char *text, char why[SPOOL_WHY])
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	size_t len = strlen(text);

	if (fd < 0)
		return fail_errno(path, why);
	bool done = write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;

	if (!done)
		fail_errno(path, why);
	close(fd);
	return done;
}

/* What is no file stays where it is: nothing of a message is in it, and our sandbox moves files
 * alone. */
static bool move_file(const char *from, const char *to, char why[SPOOL_WHY])
{
	struct stat status;

	if (lstat(from, &status) == 0 && !S_ISREG(status.st_mode))
		return true;
	return rename(from, to) == 0 || errno == ENOENT || fail_errno(to, why);
}

bool spool_dir_set_aside(
    const char *directory, const char *id, const char *text, char why[SPOOL_WHY])
{
	char *aside = mem_printf("%s/damaged", directory);
	char *from = mem_printf("%s/%s", directory, id);
	char *to = mem_printf("%s/%s", aside, id);
	char *text_path = mem_printf("%s/%s.txt", aside, id);
	bool done =
	    spool_dir_make(aside, why) && write_text(text_path, text, why) &&
	    move_file(from, to, why) &&
	    ((spool_dir_sync(aside) && spool_dir_sync(directory)) || fail_errno(aside, why));

	free(aside);
	free(from);
	free(to);
	free(text_path);
	return done;
}
