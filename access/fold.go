// SPDX-License-Identifier: EUPL-1.2

package access

import (
	_ "embed" // the schema
	"fmt"

	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/readmodel"
)

//go:embed schema.sql
var schema string

// maxDecisions bounds what is kept of one request's decisions. More than a few can only be a site that does not keep the rules.
const maxDecisions = 100

// State is what the fold keeps of one subject: a grant, the policy or an approval. Nothing in it is judged: what a site has
// accepted is a fact everywhere.
type State struct {
	Grant    *grantState    `json:"grant,omitempty"`
	Policy   *PolicySet     `json:"policy,omitempty"`
	Approval *approvalState `json:"approval,omitempty"`
}

// mark is who did something, where and when, by the clock there.
type mark struct {
	By    string       `json:"by,omitempty"`
	Site  event.SiteID `json:"site"`
	Wall  int64        `json:"wall"`
	Stamp event.Stamp  `json:"stamp"`
}

type grantState struct {
	Granted   *Granted `json:"granted,omitempty"`
	At        mark     `json:"at,omitzero"`
	Withdrawn *mark    `json:"withdrawn,omitempty"`
}

type approvalState struct {
	Asked     *ApprovalAsked `json:"asked,omitempty"`
	At        mark           `json:"at,omitzero"`
	Decisions []decided      `json:"decisions,omitempty"`
}

type decided struct {
	Kind   event.Kind `json:"kind"`
	At     mark       `json:"at"`
	Result string     `json:"result,omitempty"`
}

// Fold returns the package's part of the read model.
func Fold() readmodel.Fold {
	return readmodel.Typed[State]{
		Label:      "access",
		OwnedRoots: []string{"grant", "policy", "approval"},
		KnownKinds: []event.Kind{KindGranted, KindWithdrawn, KindPolicySet, KindApprovalAsked, KindApproved, KindRefused, KindApprovalWithdrawn},
		SQL:        schema,
		ApplyFunc:  apply,
		SaveFunc:   save,
	}
}

func apply(s State, e readmodel.Entry) (State, error) {
	if rootOf[e.Kind] != e.Subject.Root() || e.Subject.Part(1) == "" || e.Subject.Part(2) != "" {
		return s, fmt.Errorf("%s does not belong into %s", e.Kind, e.Subject)
	}
	switch e.Subject.Root() {
	case "grant":
		if s.Grant == nil {
			s.Grant = &grantState{}
		}
		return s, s.Grant.apply(e)
	case "policy":
		var f PolicySet
		if err := e.Decode(&f); err != nil {
			return s, err
		}
		s.Policy = &f
		return s, nil
	}
	if s.Approval == nil {
		s.Approval = &approvalState{}
	}
	return s, s.Approval.apply(e)
}

// markOf takes site and stamp from the event's place, which is the same everywhere, also in a log that carried it over.
func markOf(e readmodel.Entry) mark {
	return mark{By: e.Actor, Site: e.Place.Site, Wall: e.Wall, Stamp: e.Place.Stamp}
}

// apply takes the first granting and the first withdrawal, each wherever it sorts: a withdrawal refers to the grant, so a clock
// that is wrong does not undo it, and granting again under the same id does not either.
func (g *grantState) apply(e readmodel.Entry) error {
	if e.Kind == KindGranted {
		var f Granted
		if err := e.Decode(&f); err != nil || g.Granted != nil {
			return err
		}
		g.Granted, g.At = &f, markOf(e)
		return nil
	}
	var f Withdrawn
	if err := e.Decode(&f); err != nil {
		return err
	}
	if g.Withdrawn == nil && f.Grant == e.Subject.Part(1) {
		m := markOf(e)
		g.Withdrawn = &m
	}
	return nil
}

// apply takes the first asking, and all decisions in order: on two sides of a cut there may be several.
func (a *approvalState) apply(e readmodel.Entry) error {
	if e.Kind == KindApprovalAsked {
		var f ApprovalAsked
		if err := e.Decode(&f); err != nil || a.Asked != nil {
			return err
		}
		a.Asked, a.At = &f, markOf(e)
		return nil
	}
	var f Approved // the other kinds have no fields
	if err := e.Decode(&f); err != nil {
		return err
	}
	if len(a.Decisions) < maxDecisions {
		a.Decisions = append(a.Decisions, decided{Kind: e.Kind, At: markOf(e), Result: f.Result})
	}
	return nil
}
