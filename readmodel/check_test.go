// SPDX-License-Identifier: EUPL-1.2

package readmodel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/health"
)

// phone is what is looked for in the bytes of the database.
const phone = "0171-2345678"

// damageRig is a model in a file, with so much in it that it has many pages.
type damageRig struct {
	t     *testing.T
	src   *fakeSource
	path  string
	board *health.Board
	said  bytes.Buffer
	*Model
}

func newDamageRig(t *testing.T) *damageRig {
	r := &damageRig{t: t, src: newSource(), path: filepath.Join(t.TempDir(), "read.db")}
	for i := range 40 {
		r.write(i)
	}
	r.src.write(branchOf("site-a"), epoch, happened("list/phone", added, epoch, phone))
	r.open(r.path)
	return r
}

func (r *damageRig) write(i int) {
	at := epoch.Add(time.Duration(i) * time.Second)
	r.src.write(branchOf("site-a"), at, happened("list/1", added, at, fmt.Sprint("word ", i)),
		happened(event.Subject(fmt.Sprint("list/x", i)), added, at, strings.Repeat(fmt.Sprintf("entry %d ", i), 100)))
}

func (r *damageRig) open(path string) {
	r.t.Helper()
	r.said.Reset()
	r.board = health.NewBoard(func() time.Time { return epoch }, slog.New(slog.NewTextHandler(&r.said, nil)))
	r.Model = open(r.t, Config{Path: path, Source: r.src, Health: r.board, longWAL: 30})
	catchUp(r.t, r.Model)
}

// told returns how often a damage of the model was told, and whether it is over.
func (r *damageRig) told() (times int, over bool) {
	over = true
	for _, c := range r.board.List() {
		if c.Store == health.Model && c.Cause == health.Damaged {
			over = over && !c.Open()
		}
	}
	return strings.Count(r.said.String(), "level=ERROR"), over
}

func (r *damageRig) close() {
	r.t.Helper()
	if err := r.Close(); err != nil {
		r.t.Fatal(err)
	}
}

// flipIn changes one digit of what is found in the file at path, everywhere it is.
func flipIn(t *testing.T, path, what string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wrong := []byte(what)
	wrong[len(wrong)-1] ^= 1
	if !bytes.Contains(b, []byte(what)) {
		t.Fatalf("%s does not contain %q", path, what)
	}
	overwrite(t, path, bytes.ReplaceAll(b, []byte(what), wrong))
}

// overwrite changes the content in place, as a disk does; a file under another inode would not be seen by those who have it open.
func overwrite(t *testing.T, path string, content []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(content, 0)
	if err := errors.Join(err, f.Truncate(int64(len(content))), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// The figures of the experiment: one flipped digit in the file was shown as the number, by an intact-looking database.
func TestADigitThatWasFlippedWhileTheSiteWasDownIsNotShown(t *testing.T) {
	r := newDamageRig(t)
	want := shown(t, r.Model)
	r.close()
	flipIn(t, r.path, phone)
	r.open(r.path)
	if got := shown(t, r.Model); got != want {
		t.Errorf("shown is %.200s...; the number is there: %v", got, strings.Contains(got, phone))
	}
	r.runOnce(t.Context())
	if times, over := r.told(); times != 1 || !over {
		t.Errorf("told %d times, over: %v; logged:\n%s", times, over, r.said.String())
	}
}

func TestADigitThatWasFlippedWhileTheSiteRunsIsFoundByTheCheck(t *testing.T) {
	r := newDamageRig(t)
	if err := r.KeysChanged(t.Context(), nil); err != nil { // moves the write-ahead log into the file
		t.Fatal(err)
	}
	if err := r.Check(t.Context(), noRest); err != nil {
		t.Fatalf("a model that is in order: %v", err)
	}
	want := shown(t, r.Model)
	names, stop := r.Watch()
	defer stop()
	flipIn(t, r.path, phone)
	err := r.Check(t.Context(), noRest)
	if !errors.Is(err, errDamaged) {
		t.Errorf("the check says %v", err)
	}
	if got := shown(t, r.Model); got != want {
		t.Errorf("shown is %.200s...; the number is there: %v", got, strings.Contains(got, phone))
	}
	if n := <-names; !n.All {
		t.Errorf("watchers hear %v and not that everything may have changed", n)
	}
	if err := r.Check(t.Context(), noRest); err != nil {
		t.Errorf("after it was mended: %v", err)
	}
	if times, over := r.told(); times != 1 || !over {
		t.Errorf("told %d times, over: %v", times, over)
	}
}

// SQLite checks its write-ahead log only when it opens it; while it runs it reads, and moves, whatever is there.
func TestADigitThatWasFlippedInTheWriteAheadLogIsFoundByTheCheck(t *testing.T) {
	for name, moved := range map[string]bool{"before it was moved": false, "after it was moved": true} {
		t.Run(name, func(t *testing.T) {
			r := newDamageRig(t)
			must(t, r.KeysChanged(t.Context(), nil))
			const late = "0172-7654321"
			r.src.write(branchOf("site-a"), epoch, happened("list/late", added, epoch, late))
			catchUp(t, r.Model)
			if moved { // the log stays, and is read, until somebody writes
				if whole, err := r.cur.checkpoint(t.Context()); !whole || err != nil {
					t.Fatal(whole, err)
				}
			}
			want, image := shown(t, r.Model), r.files()
			flipIn(t, r.path+walSuffix, late)
			if err := r.Check(t.Context(), noRest); !errors.Is(err, errDamaged) {
				t.Errorf("the check says %v", err)
			}
			if got := shown(t, r.Model); got != want {
				t.Errorf("shown is %.200s...", got)
			}
			image[walSuffix][len(image[walSuffix])-5000] ^= 1
			r.crashed("after kill -9 and a flipped bit in the log", image)
		})
	}
}

func noRest(context.Context) error { return nil }

// Wherever a bit flips and however the file is cut, what is shown afterwards is right.
func TestNoDamageOfTheFileIsShown(t *testing.T) {
	r := newDamageRig(t)
	want, hash := shown(t, r.Model), stateHash(t, r.Model)
	r.close()
	good := readAll(t, r.path)
	sums := readAll(t, r.path+sumsSuffix)
	random := rand.New(rand.NewPCG(7, 11))
	try := func(name string, file, sum []byte, told int) {
		t.Helper()
		must(t, os.WriteFile(r.path, file, 0o600))
		must(t, os.WriteFile(r.path+sumsSuffix, sum, 0o600))
		r.open(r.path)
		defer r.close()
		if got := shown(t, r.Model); got != want || stateHash(t, r.Model) != hash {
			t.Errorf("%s: shown is %.100s...", name, got)
		}
		r.runOnce(t.Context())
		if times, over := r.told(); times != told || !over {
			t.Errorf("%s: told %d times, over: %v; want %d:\n%s", name, times, over, told, r.said.String())
		}
	}
	for range 12 {
		at, bit := random.IntN(len(good)), byte(1)<<random.IntN(8)
		bad := bytes.Clone(good)
		bad[at] ^= bit
		try(fmt.Sprintf("byte %d of %d", at, len(good)), bad, sums, 1)
	}
	swapped := bytes.Clone(good)
	copy(swapped[4096:8192], good[8192:12288])
	copy(swapped[8192:12288], good[4096:8192])
	wrongSum := bytes.Clone(sums)
	wrongSum[len(wrongSum)-2] ^= 4
	try("two pages in each other's place", swapped, sums, 1)
	try("cut in the middle of a page", good[:len(good)-1000], sums, 1)
	try("cut between pages", good[:len(good)-4096], sums, 1)
	try("only a header", good[:60], sums, 1)
	try("no sums", good, nil, 1)
	try("a damaged sum", good, wrongSum, 1)
	try("empty", nil, nil, 0)
	try("in order", good, sums, 0)
}

// kill -9 and power cuts leave files that are in order. None of them may be taken for damaged: folding anew takes minutes at a
// large site.
func TestWhatACrashLeavesIsNotTakenForDamaged(t *testing.T) {
	r := newDamageRig(t)
	var before map[string][]byte
	var between, cut int
	for i := range 16 {
		r.write(100 + i)
		catchUp(t, r.Model)
		image := r.files()
		r.crashed(fmt.Sprint("after write ", i), image)
		if before != nil {
			// Between a checkpoint and its sums: the file is newer than they are. The log still has all that was moved.
			if len(image[walSuffix]) >= len(before[walSuffix]) && bytes.Equal(image[walSuffix][16:24], before[walSuffix][16:24]) {
				image[sumsSuffix] = before[sumsSuffix]
				r.crashed(fmt.Sprint("before the sums of write ", i), image)
				between++
			}
		}
		// A power cut: the end of the log was not on the disk yet. What a checkpoint has moved was, since it syncs the log first.
		image = r.files()
		if n := len(image[walSuffix]); before != nil && n > 9000 && bytes.Equal(image[sumsSuffix], before[sumsSuffix]) {
			image[walSuffix] = image[walSuffix][:n-5000]
			r.crashed(fmt.Sprint("the log cut short at ", i), image)
			cut++
		}
		before = r.files()
	}
	if between == 0 || cut == 0 {
		t.Errorf("%d crashes between a checkpoint and its sums, %d with a log that was cut short", between, cut)
	}
}

var fileSuffixes = []string{"", walSuffix, sumsSuffix}

func (r *damageRig) files() map[string][]byte {
	files := make(map[string][]byte)
	for _, suffix := range fileSuffixes {
		if b, err := os.ReadFile(r.path + suffix); err == nil {
			files[suffix] = b
		}
	}
	return files
}

// crashed opens what a crash has left.
func (r *damageRig) crashed(name string, files map[string][]byte) {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "read.db")
	for suffix, content := range files {
		must(r.t, os.WriteFile(path+suffix, content, 0o600))
	}
	after := &damageRig{t: r.t, src: r.src, path: path}
	after.open(path)
	defer after.close()
	if times, _ := after.told(); times != 0 {
		r.t.Errorf("%s: it is taken for damaged:\n%s", name, after.said.String())
	}
	if got, want := shown(r.t, after.Model), shown(r.t, r.Model); got != want {
		r.t.Errorf("%s: shown is %.100s...", name, got)
	}
}

// A request that meets a damaged page gets an answer that says what to do, and the page is mended without anybody's doing.
func TestAReaderThatMeetsADamagedPageHasItMended(t *testing.T) {
	r := newDamageRig(t)
	want := shown(t, r.Model)
	must(t, r.KeysChanged(t.Context(), nil))
	good := readAll(t, r.path)
	for at := 4096; at < len(good); at++ {
		good[at] = 0xff
	}
	overwrite(t, r.path, good)
	err := r.View(t.Context(), func(q Query) error { // one that nobody has read yet
		var n int
		return q.QueryRowContext(t.Context(), `SELECT count(*) FROM rm_event`).Scan(&n)
	})
	if fault.KindOf(err) != fault.Unavailable || fault.Of(err).WayOut == "" {
		t.Errorf("the reader gets %v", err)
	}
	for range 3 {
		r.runOnce(t.Context())
	}
	if got := shown(t, r.Model); got != want {
		t.Errorf("shown is %.100s...", got)
	}
	if times, over := r.told(); times != 1 || !over {
		t.Errorf("told %d times, over: %v:\n%s", times, over, r.said.String())
	}
}

// A full disk stops the folding and nothing else. It goes on by itself when there is room.
func TestAFullDiskStopsTheFoldingAndItResumes(t *testing.T) {
	r := newDamageRig(t)
	want := shown(t, r.Model)
	limit := func(pages int) {
		t.Helper()
		if _, err := r.cur.exec(fmt.Sprintf(`PRAGMA max_page_count = %d`, pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(1)
	for i := range 60 {
		r.write(200 + i)
	}
	for range 5 {
		if r.runOnce(t.Context()) {
			t.Error("all went well on a full disk")
		}
	}
	if b := r.board.Blocking(); len(b) != 1 || b[0].Store != health.Model || b[0].Cause != health.Full {
		t.Errorf("told is %+v", b)
	}
	if n := strings.Count(r.said.String(), "\n"); n != 1 {
		t.Errorf("%d lines were logged:\n%s", n, r.said.String())
	}
	if got := shown(t, r.Model); !strings.HasPrefix(got, want[:20]) {
		t.Errorf("shown is %.100s...", got)
	}
	limit(1_000_000)
	if !r.runOnce(t.Context()) || r.Behind() != 0 || len(r.board.Blocking()) != 0 {
		t.Errorf("with room again it is %d pages behind: %+v", r.Behind(), r.board.List())
	}
}

// A damaged keyring must not stop the folding of what needs no key, nor of what does.
func TestTroublesOfTheKeyringsDatabaseDoNotStopTheFolding(t *testing.T) {
	foreign := filepath.Join(t.TempDir(), "keyring.db")
	must(t, os.WriteFile(foreign, []byte(strings.Repeat("no database ", 1000)), 0o600))
	broken := &engine{cfg: &Config{}, path: foreign}
	_, trouble := broken.connectAndAsk(t.Context())
	if !ours(trouble) {
		t.Fatalf("the other database says %v", trouble)
	}
	src := newSource()
	keys := fakeKeys{{town, "key-1"}: fmt.Errorf("read the key: %w", trouble)}
	m := open(t, Config{Source: src, Keys: keys})
	src.write(branchOf("site-a"), epoch, happened("list/1", secret, epoch, list{Sealed: []byte("x"), Key: "key-1"}),
		happened("list/2", added, epoch, "needs no key"))
	catchUp(t, m)
	if got := shown(t, m); m.Behind() != 0 || !strings.Contains(got, "needs no key") || !strings.Contains(got, "keyring of this site cannot be read") {
		t.Errorf("%d pages behind; shown is %s", m.Behind(), got)
	}
}

// What is acknowledged as folded need not be synced, but the file must stay whole.
func TestTheDatabaseIsSyncedAtCheckpoints(t *testing.T) {
	r := newDamageRig(t)
	var mode string
	var level, automatic int
	must(t, r.cur.queryRow(`PRAGMA journal_mode`).Scan(&mode))
	must(t, r.cur.queryRow(`PRAGMA synchronous`).Scan(&level))
	must(t, r.cur.queryRow(`PRAGMA wal_autocheckpoint`).Scan(&automatic))
	if mode != "wal" || level != 1 || automatic != 0 {
		t.Errorf("journal %s, synchronous %d, automatic checkpoints after %d frames", mode, level, automatic)
	}
}

func readAll(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
