// SPDX-License-Identifier: EUPL-1.2

package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"path/filepath"
	"sync"
	"time"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/audit"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/eventlog"
	"codeberg.org/holdfast/holdfast/examples"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/identity"
	"codeberg.org/holdfast/holdfast/identity/authenticator"
	"codeberg.org/holdfast/holdfast/keyring"
	"codeberg.org/holdfast/holdfast/localstore"
	"codeberg.org/holdfast/holdfast/readmodel"
	"codeberg.org/holdfast/holdfast/session"
)

// How many people sign in, how many at a time, and how many wrong codes come in meanwhile.
const (
	signInPeople  = 64
	signInAtATime = 16
	wrongCodes    = 10_000
	// signInTurns is how often quiet and attacked take turns, so that both meet the same machine.
	signInTurns = 5
)

// SignIn measures how many people a second one site lets in by passkey: options, the authenticator's answer, its check, the line
// in the audit on the disk, and the signed session. Then it measures the same while 10,000 wrong recovery codes come in. The phones' part (an ECDSA signature each) runs on the same machine and is in the figures.
func SignIn(ctx context.Context, o Options, report func(Metric)) (err error) {
	o = o.withDefaults()
	d, err := openDoor(ctx, o.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.enrol(ctx); err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	var quietly, attacked tally
	refused := 0
	for range signInTurns {
		t, err := drive(ctx, signInAtATime, o.Duration/signInTurns, d.signIn)
		if err != nil {
			return fmt.Errorf("sign in: %w", err)
		}
		quietly.add(t)
		t, n, err := d.attacked(ctx, o.Duration/signInTurns, wrongCodes/signInTurns)
		if err != nil {
			return fmt.Errorf("sign in under attack: %w", err)
		}
		attacked.add(t)
		refused += n
	}
	report(Metric{Name: "signin_passkey", Value: quietly.perSecond(), Unit: "/s"})
	report(Metric{Name: "signin_passkey_p99", Value: millis(quietly.quantile(0.99)), Unit: "ms"})
	report(Metric{Name: "signin_passkey_under_wrong_codes", Value: attacked.perSecond(), Unit: "/s", Against: "signin_passkey",
		Ratio: attacked.perSecond() / quietly.perSecond()})
	report(Metric{Name: "signin_wrong_codes", Value: float64(refused), Unit: "codes"})
	return nil
}

// door is a site with all that letting people in takes.
type door struct {
	*node
	ring     *keyring.Ring
	local    *localstore.Store
	model    *readmodel.Model
	people   *directory.Service
	accounts *identity.Service
	tokens   *session.Service
	audit    *audit.Service
	stop     context.CancelFunc
	folding  sync.WaitGroup
	phones   []*authenticator.Device
}

var origin = identity.Origin{Host: "alarm.example", URL: "https://alarm.example"}

// held is a federation of one site and one authority.
type held struct{ everybody }

func (held) Held() []event.AuthorityID { return []event.AuthorityID{authority} }

func openDoor(ctx context.Context, parent string) (d *door, err error) {
	d = &door{}
	if d.node, err = newNode(ctx, parent, ""); err != nil {
		return nil, err
	}
	if err := d.open(ctx); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *door) open(ctx context.Context) (err error) {
	if d.local, err = localstore.Open(filepath.Join(d.dir, "local.db"), time.Now); err != nil {
		return err
	}
	d.ring, err = keyring.Open(filepath.Join(d.dir, "keyring.db"), keyring.Config{Identity: d.id, Rand: rand.Reader, Now: time.Now, Logger: quiet})
	if err != nil {
		return err
	}
	if err := d.ring.Found(ctx, authority); err != nil {
		return err
	}
	d.model, err = readmodel.Open(ctx, readmodel.Config{Path: filepath.Join(d.dir, "read.db"), Source: eventlog.Counted{Log: d.log}, Keys: d.ring,
		Folds: []readmodel.Fold{directory.Fold(), identity.Fold(), session.Fold(), audit.Fold()}, Self: d.id.Site(), Now: time.Now, Logger: quiet})
	if err != nil {
		return err
	}
	folding, stop := context.WithCancel(context.WithoutCancel(ctx))
	d.stop = stop
	d.folding.Go(func() { d.model.Run(folding) })
	d.folding.Go(func() {
		changed, unsubscribe := d.log.Subscribe()
		defer unsubscribe()
		for folding.Err() == nil {
			select {
			case <-changed:
				d.model.Wake()
			case <-folding.Done():
			}
		}
	})
	d.services()
	return nil
}

func (d *door) services() {
	d.people = directory.New(directory.Config{Log: d.log, Model: d.model, Keys: d.ring, Rand: rand.Reader, Logger: quiet})
	d.accounts = identity.New(identity.Config{Self: d.id.Site(), Identity: d.id, Federation: held{}, Log: d.log, Model: d.model,
		Directory: d.people, Keys: d.ring, Local: d.local, Names: func(event.AuthorityID) []string { return []string{origin.Host} },
		Now: time.Now, Rand: rand.Reader, Logger: quiet})
	d.tokens = session.New(session.Config{Identity: d.id, Federation: held{}, Log: d.log, Model: d.model, Local: d.local, Now: time.Now,
		Rand: rand.Reader, Checks: []func(context.Context, access.Principal) error{d.accounts.Standing}})
	d.audit = audit.New(audit.Config{Self: d.id.Site(), Log: d.log, Model: d.model, Keys: d.ring, Now: time.Now, Rand: rand.Reader, Logger: quiet})
}

func (d *door) close() error {
	if d.stop != nil {
		d.stop()
		d.folding.Wait()
	}
	var errs []error
	if d.model != nil {
		errs = append(errs, d.model.Close())
	}
	if d.ring != nil {
		errs = append(errs, d.ring.Close())
	}
	if d.local != nil {
		errs = append(errs, d.local.Close())
	}
	return errors.Join(append(errs, d.node.close())...)
}

// enrol brings people into the directory and gives each a passkey.
func (d *door) enrol(ctx context.Context) error {
	file := examples.Export(examples.Nordtal, examples.Seed, signInPeople)
	if _, err := d.people.Import(ctx, authority, directory.ImportOptions{Format: directory.LDIF}, bytes.NewReader(file)); err != nil {
		return err
	}
	found, _, err := d.people.People(ctx, authority, directory.Search{Limit: signInPeople})
	if err != nil {
		return err
	}
	var ids []directory.PersonID
	for _, p := range found {
		ids = append(ids, p.ID)
	}
	invited, _, err := d.accounts.Invite(ctx, access.Principal{Kind: access.Console, Way: access.ByConsole}, authority, ids, time.Hour)
	if err != nil {
		return err
	}
	for _, i := range invited {
		phone := authenticator.New(rand.Reader)
		if err := d.enrolOne(ctx, i.Secret, phone); err != nil {
			return err
		}
		d.phones = append(d.phones, phone)
	}
	return nil
}

func (d *door) enrolOne(ctx context.Context, secret string, phone *authenticator.Device) error {
	p, err := d.accounts.UseInvitation(ctx, secret)
	if err != nil {
		return err
	}
	options, err := d.accounts.BeginPasskey(ctx, p, origin)
	if err != nil {
		return err
	}
	answer, err := phone.Create(origin.URL, options)
	if err != nil {
		return err
	}
	_, _, err = d.accounts.FinishPasskey(ctx, p, origin, "bench", answer)
	return err
}

// signIn lets one person in, as the portal does.
func (d *door) signIn(ctx context.Context, i int) error {
	options, err := d.accounts.BeginSignIn(ctx, origin)
	if err != nil {
		return err
	}
	answer, err := d.phones[i%len(d.phones)].Get(origin.URL, options)
	if err != nil {
		return err
	}
	p, err := d.accounts.FinishSignIn(ctx, origin, answer)
	if err != nil {
		return err
	}
	if err := d.audit.Record(ctx, authority, audit.Entry{Deed: "signin", Actor: p.Actor(), Way: string(p.Way), From: "192.0.2.7"}); err != nil {
		return err
	}
	_, _, err = d.tokens.Issue(ctx, p)
	return err
}

// attacked measures sign-ins while so many wrong codes come in, spread over the time.
func (d *door) attacked(ctx context.Context, duration time.Duration, codes int) (tally, int, error) {
	attack := make(chan error, 1)
	refused := 0
	go func() {
		tick := time.NewTicker(attackEvery)
		defer tick.Stop()
		batch := max(1, codes*int(attackEvery)/int(duration))
		for refused < codes {
			for range min(batch, codes-refused) {
				if err := d.wrongCode(ctx); err != nil {
					attack <- err
					return
				}
				refused++
			}
			<-tick.C
		}
		attack <- nil
	}()
	t, err := drive(ctx, signInAtATime, duration, d.signIn)
	return t, refused, errors.Join(<-attack, err)
}

const attackEvery = 5 * time.Millisecond

// wrongCode tries one wrong code, as the portal does.
func (d *door) wrongCode(ctx context.Context) error {
	_, err := d.accounts.SignInWithCode(ctx, anyCode(), "")
	if fault.KindOf(err) != fault.Unauthenticated {
		return fmt.Errorf("a wrong code was not refused as it should: %w", err)
	}
	d.audit.Gather("", audit.Entry{Deed: "signin", Outcome: audit.Refused, Way: "code", From: "198.51.100.7"})
	return nil
}

// anyCode returns a random code of the right form.
func anyCode() string {
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	var b [24]byte
	_, _ = rand.Read(b[:])
	code := make([]byte, 0, 29)
	for i, c := range b {
		if i > 0 && i%4 == 0 {
			code = append(code, '-')
		}
		code = append(code, alphabet[c%32])
	}
	return string(code)
}
