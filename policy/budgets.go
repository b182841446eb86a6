package policy

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// Budgets bound what reaches the PBX from outside: so many requests of a method, all sources together (pbx.limits). They
// are not about who sends it, so they stand last, behind all limits of sources, and refuse with 503 instead of silence. They
// are safe for concurrent use.
type Budgets struct {
	mu   sync.Mutex
	base time.Time
	list map[Method]*budget
}

// budget is one of them, with what is owed to it.
type budget struct {
	text Rate
	size size
	debt debt
}

// BudgetLevel is one budget for `sbc status --limits`.
type BudgetLevel struct {
	Limit string  `json:"limit"` // INVITE 50/second burst 50
	Left  float64 `json:"left"`  // requests that may be sent at once now
}

// NewBudgets makes budgets by method, or `*` for every method not listed: INVITE → 50/second. None at all bound nothing. The
// errors are those of SetLimits.
func NewBudgets(now time.Time, limits map[string]string) (*Budgets, error) {
	b := &Budgets{base: now, list: map[Method]*budget{}}
	return b, b.SetLimits(now, limits)
}

// SetLimits replaces the budgets. What is owed to those that stay is kept, clipped to the new size. On an error nothing
// changes; each part of it begins with the path of its key, pbx.limits.INVITE.
func (b *Budgets) SetLimits(now time.Time, limits map[string]string) error {
	if err := ValidateBudgets(limits); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	at, list := now.Sub(b.base), make(map[Method]*budget, len(limits))
	for _, name := range sortedKeys(limits) {
		m, _ := limitMethod(name)
		r, _ := ParseRate(limits[name])
		next := &budget{text: r, size: size{r.PerSecond(), float64(budgetBurst(r))}}
		if old := b.list[m]; old != nil {
			next.debt.owe(at, next.size, old.debt.now(at))
		}
		list[m] = next
	}
	b.list = list
	return nil
}

// budgetBurst is how many requests may come at once: those of one second. A PBX that takes so many a second takes no more
// than that in one go; Rate.DefaultBurst, six seconds' worth, is made for sources that are mostly silent.
func budgetBurst(r Rate) int { return max(4, int(math.Ceil(r.PerSecond()))) }

// ValidateBudgets reports everything that is wrong with pbx.limits.
func ValidateBudgets(limits map[string]string) error {
	var p problems
	for _, name := range sortedKeys(limits) {
		path := "pbx.limits." + name
		if m, ok := limitMethod(name); !ok || m == unparseable {
			p.add(path, "is not a method; use upper case (INVITE, REGISTER, …) or \"*\" for every method not listed")
		}
		if _, err := ParseRate(limits[name]); err != nil {
			p.add(path, "%w", err)
		}
	}
	return errors.Join(p.errs...)
}

// Take takes one request of a method out of its budget, before it is sent to the PBX. It reports false, with the limit for
// the log and `sbc why`, if there is none left.
func (b *Budgets) Take(now time.Time, method string) (ok bool, limit string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := MethodOf([]byte(method))
	x, listed := b.list[m]
	if !listed {
		if x, listed = b.list[MethodOther]; !listed {
			return true, ""
		}
		m = MethodOther
	}
	if x.debt.take(now.Sub(b.base), x.size) {
		return true, ""
	}
	return false, x.name(m)
}

// name is the budget as an administrator reads it.
func (x *budget) name(m Method) string {
	method := m.String()
	if m == MethodOther {
		method = "*"
	}
	return fmt.Sprintf("%s %s burst %d", method, x.text, int(x.size.burst))
}

// Levels lists the budgets by method, in the order of the methods; `*` first.
func (b *Budgets) Levels(now time.Time) []BudgetLevel {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []BudgetLevel
	for m := range methodCount {
		if x := b.list[m]; x != nil {
			list = append(list, BudgetLevel{x.name(m), math.Floor(x.debt.left(now.Sub(b.base), x.size)*10) / 10})
		}
	}
	return list
}
