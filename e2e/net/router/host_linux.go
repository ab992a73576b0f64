// SPDX-License-Identifier: EUPL-1.2

package router

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Host is a network namespace with a loopback device and one tun device. Use NewHost, which needs root; it is safe for
// concurrent use.
type Host struct {
	// Addr is the host's address. All of Prefix is reached through the tun device.
	Addr netip.Addr

	namespace *os.File
	device    *os.File
	close     func() error
}

// Prefix holds the addresses of hosts: each reaches all others, as far as a Router carries it.
var Prefix = netip.MustParsePrefix("10.77.0.0/16")

// NewHost makes a namespace with a device at that address of Prefix. Attach it to a Router to get anywhere.
func NewHost(at netip.Addr) (*Host, error) {
	if !Prefix.Contains(at) {
		return nil, fmt.Errorf("%s is not in %s", at, Prefix)
	}
	h := &Host{Addr: at}
	h.close = sync.OnceValue(h.closeFiles)
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("make a network namespace (this needs root): %w", err)
		}
		return errors.Join(h.open(), bringUp("lo"))
	})
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// onThread runs f on a thread of its own, which ends with f: whatever f changes about its thread stays there.
func onThread(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock: then the thread ends with the goroutine
		result <- f()
	}()
	return <-result
}

// open opens the namespace that the thread is in, and a device in it.
func (h *Host) open() (err error) {
	if h.namespace, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())); err != nil {
		return fmt.Errorf("open a network namespace: %w", err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open /dev/net/tun: %w", err)
	}
	name, err := unix.NewIfreq(deviceName)
	if err != nil {
		return err
	}
	name.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, name); err != nil {
		return errors.Join(fmt.Errorf("make a tun device: %w", err), unix.Close(fd))
	}
	h.device = os.NewFile(uintptr(fd), "tun") // non-blocking, so Close ends a Read
	return errors.Join(h.setAddress(), bringUp(deviceName))
}

const deviceName = "line0"

func (h *Host) setAddress() error {
	mask := make([]byte, 4)
	for i := range Prefix.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	address := h.Addr.As4()
	for _, set := range []struct { // the mask second: an address brings its class's mask
		request uint
		value   []byte
	}{{unix.SIOCSIFADDR, address[:]}, {unix.SIOCSIFNETMASK, mask}} {
		err := configure(deviceName, set.request, func(r *unix.Ifreq) error { return r.SetInet4Addr(set.value) })
		if err != nil {
			return fmt.Errorf("give a tun device its address: %w", err)
		}
	}
	return nil
}

func bringUp(device string) error {
	err := configure(device, unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error {
		r.SetUint16(unix.IFF_UP)
		return nil
	})
	if err != nil {
		return fmt.Errorf("bring %s up: %w", device, err)
	}
	return nil
}

// configure makes one request about a device of the thread's namespace (netdevice(7)).
func configure(device string, request uint, set func(*unix.Ifreq) error) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	r, err := unix.NewIfreq(device)
	if err != nil {
		return err
	}
	return errors.Join(set(r), unix.IoctlIfreq(s, request, r))
}

// Join has the router carry the host's packets. The device is the router's from then on.
func (h *Host) Join(r *Router) error { return r.Attach(h.Addr, h.device) }

// Do runs f in the host: sockets that f itself opens, and processes that it starts, belong to the host. What f leaves
// to goroutines does not, so f must open sockets before it starts any.
func (h *Host) Do(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(int(h.namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter a network namespace: %w", err)
		}
		return f()
	})
}

// Start starts a command in the host. The command must not ask to be killed with its parent's thread (Pdeathsig): the
// thread ends at once.
func (h *Host) Start(cmd *exec.Cmd) error { return h.Do(cmd.Start) }

// Close lets go of the namespace and the device; the kernel removes them when the last process in the host is gone.
func (h *Host) Close() error { return h.close() }

func (h *Host) closeFiles() error {
	var errs []error
	for _, f := range []*os.File{h.device, h.namespace} {
		if f == nil {
			continue
		}
		if err := f.Close(); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
