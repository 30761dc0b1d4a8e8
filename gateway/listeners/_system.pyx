# cython: language_level=3, binding=False
"""What ``system.py`` says, straight from the system: built with the compiled wheel only (``build_hook.py``).

The interpreter's own calls let other threads run around each of them, which costs two locks and a signal each time,
and as many wake-ups when the store's thread wants to run. Here that is done where the system may wait, and nowhere
else: a socket that does not block takes a few microseconds. What is read is copied once, at its length.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals, PyErr_SetFromErrno
from libc.errno cimport EINTR, errno
from posix.unistd cimport read as c_read
from posix.unistd cimport write as c_write


cdef extern from "sys/epoll.h" nogil:
    ctypedef union epoll_data_t:
        int fd

    struct epoll_event:
        unsigned int events
        epoll_data_t data

    int epoll_wait(int fd, epoll_event *events, int most, int milliseconds)


cdef enum:
    ROOM = 65536
    MOST = 1024

SMALL = ROOM

# Nobody else runs between the system's answer and the copy of it.
cdef char _room[ROOM]


def read(int fd, int size):
    """Up to ``size`` bytes, at most ROOM; none: the other side has ended. Raises OSError."""
    cdef ssize_t count = c_read(fd, _room, min(size, ROOM))
    if count < 0:
        PyErr_SetFromErrno(OSError)
    return PyBytes_FromStringAndSize(_room, count)


def write(int fd, bytes data not None):
    """How many bytes the system took. Raises OSError."""
    cdef ssize_t count = c_write(fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    if count < 0:
        PyErr_SetFromErrno(OSError)
    return count


cdef class Poller:
    """The question of one epoll set."""

    cdef int fd
    cdef epoll_event events[MOST]

    def __cinit__(self, epoll):
        self.fd = epoll.fileno()

    def poll(self, double timeout, int most):
        """Descriptors and masks, after ``timeout`` seconds at the latest; negative: when there are some."""
        cdef int count, at
        cdef int milliseconds = -1
        if timeout >= 0:
            # Up, as the interpreter does it: who waits for a timer must not come a moment too early.
            milliseconds = <int>min(timeout * 1000 + 0.999, 1e9)
        if milliseconds == 0:
            count = epoll_wait(self.fd, self.events, min(most, MOST), 0)
        else:
            with nogil:
                count = epoll_wait(self.fd, self.events, min(most, MOST), milliseconds)
        if count < 0:
            if errno != EINTR:
                PyErr_SetFromErrno(OSError)
            PyErr_CheckSignals()
            count = 0
        return [(self.events[at].data.fd, <int>self.events[at].events) for at in range(count)]


def poll_of(epoll):
    """What asks this ``select.epoll``."""
    return Poller(epoll).poll
