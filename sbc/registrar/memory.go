package registrar

// memoryMost bounds what is remembered beyond the bindings: strangers can fill it, and the oldest goes first.
const memoryMost = 512

// memory remembers a few values by name, the latest ones. What it forgets costs a hint, never a binding.
type memory[V any] struct {
	values map[string]V
	ring   [memoryMost]string
	next   int
}

func (m *memory[V]) put(name string, v V) {
	if m.values == nil {
		m.values = make(map[string]V)
	}
	if _, known := m.values[name]; !known {
		delete(m.values, m.ring[m.next])
		m.ring[m.next] = name
		m.next = (m.next + 1) % memoryMost
	}
	m.values[name] = v
}

func (m *memory[V]) get(name string) V { return m.values[name] }
