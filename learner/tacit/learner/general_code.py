"""Short pieces of general code in ten languages, no part of any project, for the gate's sixth step. Plain data.

Written for this purpose: what is measured is how far a policy has moved where nothing was to be learned.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    language: str
    """LSP language id."""
    path: str
    text: str


PIECES = (
    Piece(
        "python",
        "inventory/stock.py",
        '''from dataclasses import dataclass


@dataclass
class Item:
    name: str
    quantity: int
    price: float


def restock(items, minimum):
    """Names of the items of which fewer than `minimum` are left."""
    missing = []
    for item in items:
        if item.quantity < minimum:
            missing.append(item.name)
    return sorted(missing)


def total_value(items):
    return sum(item.quantity * item.price for item in items)
''',
    ),
    Piece(
        "javascript",
        "src/cart.js",
        """export class Cart {
  constructor() {
    this.lines = new Map();
  }

  add(product, count = 1) {
    const line = this.lines.get(product.id);
    if (line) {
      line.count += count;
    } else {
      this.lines.set(product.id, { product, count });
    }
  }

  get total() {
    let sum = 0;
    for (const { product, count } of this.lines.values()) {
      sum += product.price * count;
    }
    return sum;
  }
}
""",
    ),
    Piece(
        "typescript",
        "src/events.ts",
        """type Listener<T> = (value: T) => void;

export class Emitter<T> {
  private listeners: Set<Listener<T>> = new Set();

  subscribe(listener: Listener<T>): () => void {
    this.listeners.add(listener);
    return () => {
      this.listeners.delete(listener);
    };
  }

  emit(value: T): void {
    for (const listener of this.listeners) {
      listener(value);
    }
  }
}
""",
    ),
    Piece(
        "java",
        "src/main/java/shop/Account.java",
        """package shop;

import java.util.ArrayList;
import java.util.List;

public class Account {
    private final List<Integer> movements = new ArrayList<>();

    public void deposit(int amount) {
        if (amount <= 0) {
            throw new IllegalArgumentException("amount must be positive");
        }
        movements.add(amount);
    }

    public int balance() {
        int sum = 0;
        for (int movement : movements) {
            sum += movement;
        }
        return sum;
    }
}
""",
    ),
    Piece(
        "go",
        "counter/counter.go",
        """package counter

import "sync"

// Counter counts words and may be used by several goroutines.
type Counter struct {
	mu     sync.Mutex
	counts map[string]int
}

func New() *Counter {
	return &Counter{counts: make(map[string]int)}
}

func (c *Counter) Add(word string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[word]++
}

func (c *Counter) Get(word string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[word]
}
""",
    ),
    Piece(
        "rust",
        "src/stack.rs",
        """pub struct Stack<T> {
    items: Vec<T>,
}

impl<T> Stack<T> {
    pub fn new() -> Self {
        Stack { items: Vec::new() }
    }

    pub fn push(&mut self, item: T) {
        self.items.push(item);
    }

    pub fn pop(&mut self) -> Option<T> {
        self.items.pop()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}
""",
    ),
    Piece(
        "c",
        "src/list.c",
        """#include <stdlib.h>
#include "list.h"

struct node {
    int value;
    struct node *next;
};

struct node *push(struct node *head, int value) {
    struct node *fresh = malloc(sizeof(*fresh));
    if (fresh == NULL) {
        return head;
    }
    fresh->value = value;
    fresh->next = head;
    return fresh;
}

int length(const struct node *head) {
    int count = 0;
    while (head != NULL) {
        count++;
        head = head->next;
    }
    return count;
}
""",
    ),
    Piece(
        "cpp",
        "src/matrix.cpp",
        """#include <stdexcept>
#include <vector>

class Matrix {
public:
    Matrix(std::size_t rows, std::size_t columns)
        : rows_(rows), columns_(columns), values_(rows * columns, 0.0) {}

    double& at(std::size_t row, std::size_t column) {
        if (row >= rows_ || column >= columns_) {
            throw std::out_of_range("no such cell");
        }
        return values_[row * columns_ + column];
    }

    std::size_t rows() const { return rows_; }

private:
    std::size_t rows_;
    std::size_t columns_;
    std::vector<double> values_;
};
""",
    ),
    Piece(
        "sql",
        "migrations/0003_orders.sql",
        """CREATE TABLE orders (
    id INTEGER PRIMARY KEY,
    customer_id INTEGER NOT NULL REFERENCES customers (id),
    placed_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    total_cents INTEGER NOT NULL CHECK (total_cents >= 0)
);

CREATE INDEX orders_by_customer ON orders (customer_id, placed_at);

SELECT customers.name, COUNT(orders.id) AS order_count, SUM(orders.total_cents) AS spent
FROM customers
LEFT JOIN orders ON orders.customer_id = customers.id
GROUP BY customers.name
ORDER BY spent DESC;
""",
    ),
    Piece(
        "shellscript",
        "scripts/backup.sh",
        """#!/usr/bin/env bash
set -euo pipefail

source_dir="$1"
target_dir="$2"
stamp="$(date +%Y-%m-%d)"

mkdir -p "$target_dir"
tar -czf "$target_dir/backup-$stamp.tar.gz" -C "$source_dir" .

# Keep the seven newest archives.
ls -1t "$target_dir"/backup-*.tar.gz | tail -n +8 | while read -r old; do
    echo "removing $old"
    rm -- "$old"
done
""",
    ),
)
