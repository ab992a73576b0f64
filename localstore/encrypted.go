// SPDX-License-Identifier: EUPL-1.2

package localstore

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Encrypted tells whether a folder lies on an encrypted file system, as far as this machine can see: known is false where it
// cannot tell, and why says in a few words what it went by, for the operator. It reads /proc/self/mountinfo and /sys, and so
// is of use on Linux only. A file system in memory counts as encrypted: it is gone with the power. What a provider or a disk
// encrypts by itself cannot be seen from here, and is not counted: its key is not ours.
func Encrypted(dir string) (encrypted, known bool, why string) {
	return machine{proc: "/proc", sys: "/sys"}.encrypted(dir, 0)
}

// machine is where the kernel tells about itself.
type machine struct{ proc, sys string }

// maxLayers bounds how many layers of devices are gone through. Real ones have two or three.
const maxLayers = 12

// mount is a line of mountinfo, see proc_pid_mountinfo(5).
type mount struct {
	device string // major:minor
	point  string
	kind   string
	source string
}

// encryptedKinds are file systems that encrypt by themselves; unseenKinds are those below which this machine cannot look.
var (
	encryptedKinds = map[string]bool{"ecryptfs": true, "fuse.gocryptfs": true, "fuse.encfs": true, "fuse.cryfs": true}
	unseenKinds    = map[string]bool{"overlay": true, "nfs": true, "nfs4": true, "cifs": true, "smb3": true, "9p": true, "virtiofs": true,
		"zfs": true, "ceph": true, "glusterfs": true, "bcachefs": true}
)

func (m machine) encrypted(dir string, depth int) (encrypted, known bool, why string) {
	if depth > maxLayers {
		return false, false, "there are too many layers of devices"
	}
	path, err := filepath.Abs(dir)
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return false, false, "the folder cannot be looked at"
	}
	at, err := m.mountOf(path)
	if err != nil {
		return false, false, "this machine does not tell what is mounted where"
	}
	switch {
	case at.kind == "tmpfs" || at.kind == "ramfs":
		return true, true, fmt.Sprintf("it is in memory (%s); whether swap is encrypted was not looked at", at.kind)
	case encryptedKinds[at.kind]:
		return true, true, fmt.Sprintf("the file system encrypts (%s)", at.kind)
	case unseenKinds[at.kind]:
		return false, false, fmt.Sprintf("it is on %s, below which this machine cannot look", at.kind)
	}
	return m.device(m.deviceOf(at), at.kind, depth)
}

// mountOf returns the mount that the path is on: of those that contain it the deepest, of equals the one mounted last.
func (m machine) mountOf(path string) (found mount, err error) {
	f, err := os.Open(filepath.Join(m.proc, "self", "mountinfo"))
	if err != nil {
		return mount{}, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return mountOf(f, path)
}

func mountOf(r io.Reader, path string) (found mount, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		at, ok := parseMount(lines.Text())
		if ok && contains(at.point, path) && len(at.point) >= len(found.point) {
			found = at
		}
	}
	if err := lines.Err(); err != nil {
		return mount{}, err
	}
	if found.point == "" {
		return mount{}, fmt.Errorf("no mount contains the folder")
	}
	return found, nil
}

func contains(point, path string) bool {
	return point == "/" || path == point || strings.HasPrefix(path, point+"/")
}

// parseMount reads "36 35 98:0 /root /point options [tags...] - type source superoptions".
func parseMount(line string) (mount, bool) {
	before, after, ok := strings.Cut(line, " - ")
	left, right := strings.Fields(before), strings.Fields(after)
	if !ok || len(left) < 6 || len(right) < 2 || !strings.HasPrefix(left[4], "/") {
		return mount{}, false
	}
	return mount{device: left[2], point: unescaped(left[4]), kind: right[0], source: unescaped(right[1])}, true
}

// unescaped undoes what the kernel does to spaces and their like in paths.
func unescaped(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// deviceOf returns the folder in which the kernel tells about the mount's device, "" if it has none. Some file systems (btrfs)
// mount under a number that is no device's; then the source names it.
func (m machine) deviceOf(at mount) string {
	dir := filepath.Join(m.sys, "dev", "block", at.device)
	if exists(dir) {
		return dir
	}
	name, ok := strings.CutPrefix(at.source, "/dev/")
	if !ok {
		return ""
	}
	if mapped, ok := strings.CutPrefix(name, "mapper/"); ok {
		return m.mapped(mapped)
	}
	if dir = filepath.Join(m.sys, "class", "block", name); exists(dir) && !strings.Contains(name, "/") {
		return dir
	}
	return ""
}

// mapped finds a device of the device mapper by its name.
func (m machine) mapped(name string) string {
	names, err := filepath.Glob(filepath.Join(m.sys, "class", "block", "*", "dm", "name"))
	if err != nil {
		return ""
	}
	for _, file := range names {
		if read(file) == name {
			return filepath.Dir(filepath.Dir(file))
		}
	}
	return ""
}

// device tells whether a device, or all that lie below it, are encrypted.
func (m machine) device(dir, kind string, depth int) (encrypted, known bool, why string) {
	if dir == "" {
		return false, false, fmt.Sprintf("the file system (%s) is on no device that this machine tells about", kind)
	}
	if depth > maxLayers {
		return false, false, "there are too many layers of devices"
	}
	if strings.HasPrefix(read(filepath.Join(dir, "dm", "uuid")), "CRYPT-") {
		return true, true, "the device is encrypted (dm-crypt)"
	}
	if file := read(filepath.Join(dir, "loop", "backing_file")); file != "" {
		return m.encrypted(filepath.Dir(file), depth+1)
	}
	below, err := filepath.Glob(filepath.Join(dir, "slaves", "*"))
	if err != nil || len(below) == 0 {
		return m.partition(dir, kind, depth)
	}
	for _, b := range below {
		if encrypted, known, why = m.device(b, kind, depth+1); !encrypted {
			return false, known, why // of several disks one in the clear is enough
		}
	}
	return encrypted, known, why
}

// partition goes from a partition to its disk; any other device without another one below it is a disk.
func (m machine) partition(dir, kind string, depth int) (encrypted, known bool, why string) {
	target, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false, false, "the device cannot be looked at"
	}
	if exists(filepath.Join(target, "partition")) {
		return m.device(filepath.Dir(target), kind, depth+1)
	}
	return false, true, "no encryption is below the file system on this machine (what a provider or a disk encrypts by itself cannot be seen)"
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// read returns the first line of a small file of the kernel's, "" if there is none.
func read(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}
