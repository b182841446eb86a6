package transaction

import "iter"

// links are the two neighbours of a transaction in a list that is threaded through its members: no allocation to
// enter, no search to leave.
type links[T any] struct{ prev, next *T }

// chains are lists by a common key: the transactions of a user, the requests on their way to an address.
type chains[K comparable, T any] struct {
	heads map[K]*T
	links func(*T) *links[T]
}

func newChains[K comparable, T any](of func(*T) *links[T]) chains[K, T] {
	return chains[K, T]{heads: map[K]*T{}, links: of}
}

// add puts x at the head of k's list. It must not be in one.
func (c *chains[K, T]) add(k K, x *T) {
	head := c.heads[k]
	*c.links(x) = links[T]{next: head}
	if head != nil {
		c.links(head).prev = x
	}
	c.heads[k] = x
}

// drop takes x out of k's list; it does nothing if x is not in it.
func (c *chains[K, T]) drop(k K, x *T) {
	l := c.links(x)
	switch {
	case l.prev != nil:
		c.links(l.prev).next = l.next
	case c.heads[k] != x:
		return
	case l.next == nil:
		delete(c.heads, k)
	default:
		c.heads[k] = l.next
	}
	if l.next != nil {
		c.links(l.next).prev = l.prev
	}
	*l = links[T]{}
}

// drain takes every member of k's list out of it, one after the other.
func (c *chains[K, T]) drain(k K) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for {
			x := c.heads[k]
			if x == nil {
				return
			}
			c.drop(k, x)
			if !yield(x) {
				return
			}
		}
	}
}
